//! What a FlatBuffer holds, looked up where it lies: tables, vectors, texts.
//!
//! Every place is checked before it is read; one that is not there is [`Damaged`]. A field that a table does
//! not have is none. The format: <https://flatbuffers.dev/internals/>.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

impl From<Damaged> for String {
    fn from(_: Damaged) -> String {
        "the body is no whole Arrow IPC stream or file".to_owned()
    }
}

/// The `N` bytes at `at`.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damaged> {
    let end = at.checked_add(N).ok_or(Damaged)?;
    let found = bytes.get(at..end).ok_or(Damaged)?;
    found.try_into().map_err(|_| Damaged)
}

/// Where the offset at `at` leads.
fn follow(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let offset = u32::from_le_bytes(number(bytes, at)?) as usize;
    at.checked_add(offset).ok_or(Damaged)
}

/// A table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    /// The table that a buffer is.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Table<'a>, Damaged> {
        let at = follow(bytes, 0)?;
        Ok(Table { bytes, at })
    }

    /// Where the nth field is.
    fn place(&self, nth: usize) -> Result<Option<usize>, Damaged> {
        let back = i32::from_le_bytes(number(self.bytes, self.at)?);
        let layout = self.at as i64 - i64::from(back);
        let layout = usize::try_from(layout).map_err(|_| Damaged)?;
        let length = u16::from_le_bytes(number(self.bytes, layout)?);
        let entry = 4 + 2 * nth;
        if entry + 2 > usize::from(length) {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(number(self.bytes, layout + entry)?);
        Ok((offset > 0).then(|| self.at + usize::from(offset)))
    }

    /// The bytes of a number.
    pub(super) fn number<const N: usize>(&self, nth: usize) -> Result<Option<[u8; N]>, Damaged> {
        let place = self.place(nth)?;
        place.map(|at| number(self.bytes, at)).transpose()
    }

    pub(super) fn table(&self, nth: usize) -> Result<Option<Table<'a>>, Damaged> {
        let Some(at) = self.place(nth)? else {
            return Ok(None);
        };
        let at = follow(self.bytes, at)?;
        let bytes = self.bytes;
        Ok(Some(Table { bytes, at }))
    }

    /// The items of a vector, of `size` bytes each, and where they begin.
    fn vector(&self, nth: usize, size: usize) -> Result<(&'a [u8], usize), Damaged> {
        let Some(at) = self.place(nth)? else {
            return Ok((&[], 0));
        };
        let at = follow(self.bytes, at)?;
        let count = u32::from_le_bytes(number(self.bytes, at)?) as usize;
        let start = at + 4;
        let end = count
            .checked_mul(size)
            .and_then(|bytes| start.checked_add(bytes));
        let items = self.bytes.get(start..end.ok_or(Damaged)?).ok_or(Damaged)?;
        Ok((items, start))
    }

    /// The items of a vector of structs of `size` bytes, one after the other.
    pub(super) fn structs(&self, nth: usize, size: usize) -> Result<&'a [u8], Damaged> {
        Ok(self.vector(nth, size)?.0)
    }

    /// The tables of a vector.
    pub(super) fn tables(&self, nth: usize) -> Result<Vec<Table<'a>>, Damaged> {
        let (items, start) = self.vector(nth, 4)?;
        let bytes = self.bytes;
        let places = (0..items.len() / 4).map(|nth| follow(bytes, start + 4 * nth));
        places.map(|at| Ok(Table { bytes, at: at? })).collect()
    }

    pub(super) fn text(&self, nth: usize) -> Result<Option<&'a str>, Damaged> {
        let (text, start) = self.vector(nth, 1)?;
        let text = std::str::from_utf8(text).map_err(|_| Damaged)?;
        Ok((start > 0).then_some(text))
    }
}
