//! Writes `.pt` files as `torch.save` does.

use super::bench::stored;

/// A tensor as its pickle describes it.
#[derive(Clone)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: &'a str,
    pub(crate) offset: u64,
    pub(crate) shape: &'a [u64],
    pub(crate) strides: &'a [u64],
    pub(crate) values: &'a [u8],
}

impl<'a> Tensor<'a> {
    pub(crate) fn dense(
        storage: &'a str,
        shape: &'a [u64; 2],
        strides: &'a [u64; 2],
        values: &'a [u8],
    ) -> Tensor<'a> {
        Tensor {
            storage,
            offset: 0,
            shape,
            strides,
            values,
        }
    }

    /// The operations between protocol and stop.
    pub(crate) fn operations(&self) -> Vec<u8> {
        let mut out = b"ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\0\0\0storageq\x01".to_vec();
        out.extend(format!("ctorch\n{}\nq\x02", self.storage).as_bytes());
        out.extend(b"X\x01\0\0\x000q\x03X\x03\0\0\0cpuq\x04");
        let most = self.shape.iter().product::<u64>();
        number(&mut out, most);
        out.extend(b"tq\x05Q");
        number(&mut out, self.offset);
        for (sizes, slot) in [(self.shape, 6u8), (self.strides, 7)] {
            if sizes.len() > 3 {
                out.push(b'(');
            }
            sizes.iter().for_each(|&size| number(&mut out, size));
            out.push([b')', 0x85, 0x86, 0x87, b't'][sizes.len().min(4)]);
            out.extend([b'q', slot]);
        }
        out.extend(b"\x89ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b");
        out
    }

    pub(crate) fn pickle(&self) -> Vec<u8> {
        [&b"\x80\x02"[..], &self.operations(), b"."].concat()
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        self.file_with(&self.pickle())
    }

    /// The archive with another description.
    pub(crate) fn file_with(&self, pickle: &[u8]) -> Vec<u8> {
        stored(&[
            ("x/data.pkl", pickle),
            ("x/byteorder", b"little"),
            ("x/data/0", self.values),
            ("x/version", b"3\n"),
        ])
    }
}

/// As CPython's pickler: the shortest form of a number that is not negative.
fn number(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0xff => out.extend([b'K', value as u8]),
        0x100..=0xffff => {
            out.push(b'M');
            out.extend((value as u16).to_le_bytes());
        }
        0x1_0000..=0x7fff_ffff => {
            out.push(b'J');
            out.extend((value as u32).to_le_bytes());
        }
        _ => {
            out.extend([0x8a, 8]);
            out.extend(value.to_le_bytes());
        }
    }
}
