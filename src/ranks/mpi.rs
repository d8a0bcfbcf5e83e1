//! Ranks that are processes, started by `mpirun`, `srun` or whatever else starts an MPI program.
//!
//! Each exchange begins with a word of each rank: how many bytes it gives, or that it has ended. Who ends
//! says so once on each channel, and takes the rest of that exchange with what it has to say; so a rank
//! that fails leaves nobody waiting, and one that has trained to its end waits for nobody's failure.
//!
//! Invariant: a sum is made of parts, one a rank, each added up in the order of the ranks; it moves twice
//! its size, however many ranks there are.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _};

use super::{Channel, Exchange, Gathered, RankError};

/// Says that a rank has ended, in place of its bytes.
const ENDED: u64 = 1 << 63;

/// All processes of an MPI job, until this is dropped.
pub struct World(Universe);

/// The job that this process is in until it ends.
#[cfg(unix)]
static JOB: Mutex<Option<World>> = Mutex::new(None);

/// Called when the process ends.
#[cfg(unix)]
extern "C" fn leave() {
    drop(JOB.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl World {
    /// Enters the job that this process was started in.
    ///
    /// # Errors
    /// When MPI does not let several threads talk, in words.
    pub fn enter() -> Result<World, String> {
        let entered = mpi::initialize_with_threading(Threading::Multiple);
        let Some((universe, granted)) = entered else {
            return Err("MPI has been initialised before".to_owned());
        };
        if granted < Threading::Multiple {
            return Err(format!(
                "this MPI library grants {granted:?}, MPI_THREAD_MULTIPLE is needed"
            ));
        }
        Ok(World(universe))
    }

    /// Leaves the job when this process ends, where that can be asked for. MPI waits there for all ranks, and a launcher ends
    /// all of them once one has ended with an error: so each rank has said what it has to say by then.
    pub fn leave_at_end(self) {
        #[cfg(unix)]
        {
            *JOB.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
            // SAFETY: `leave` takes a lock that nobody holds for long, and what MPI needs is not of Rust's. Where there is no
            // room for it, nobody leaves, and the launcher says so.
            unsafe { nix::libc::atexit(leave) };
        }
    }

    /// This process among the others.
    pub fn process(&self) -> Process {
        let world = self.0.world();
        let channel = || {
            Mutex::new(Line {
                comm: world.duplicate(),
                ended: None,
            })
        };
        let lines = Arc::new([channel(), channel()]);
        Process {
            rank: world.rank() as usize,
            size: world.size() as usize,
            on_machine: on_machine(&world),
            of_rows: Mutex::new(Ender::start(lines.clone()).ok()),
            lines,
        }
    }
}

/// The ranks of `world` that share memory with this one, ascending.
fn on_machine(world: &SimpleCommunicator) -> Vec<usize> {
    let here = world.split_shared(world.rank());
    let mut ranks = vec![0; here.size() as usize];
    here.all_gather_into(&world.rank(), &mut ranks[..]);
    ranks.into_iter().map(|rank: i32| rank as usize).collect()
}

/// One process of an MPI job.
pub struct Process {
    rank: usize,
    size: usize,
    on_machine: Vec<usize>,
    of_rows: Mutex<Option<Ender>>,
    lines: Arc<Lines>,
}

type Lines = [Mutex<Line>; Channel::COUNT];

/// The line of a channel.
fn line(lines: &Lines, channel: Channel) -> MutexGuard<'_, Line> {
    let line = lines[channel as usize].lock();
    line.unwrap_or_else(PoisonError::into_inner)
}

/// A thread that says on the channel of rows that the rank ends, while another one says it on the other channel. It
/// is there from the start: a rank may end for want of memory, in which it could not have one.
struct Ender {
    tell: Sender<String>,
    thread: JoinHandle<Option<RankError>>,
}

impl Ender {
    fn start(lines: Arc<Lines>) -> io::Result<Ender> {
        let (tell, told) = mpsc::channel::<String>();
        let thread = thread::Builder::new().name("mspipe-end".to_owned());
        let thread = thread.spawn(move || {
            let why = told.recv().ok()?;
            line(&lines, Channel::Rows).begin(ENDED, &why).err()
        })?;
        Ok(Ender { tell, thread })
    }

    /// Says why while `other` is done; what both hear.
    fn beside(
        self,
        why: &str,
        other: impl FnOnce() -> Option<RankError>,
    ) -> (Option<RankError>, Option<RankError>) {
        // It waits for this.
        let _ = self.tell.send(why.to_owned());
        let heard = other();
        (self.thread.join().ok().flatten(), heard)
    }

    /// Ends it without a word.
    fn dismiss(self) {
        drop(self.tell);
        let _ = self.thread.join();
    }
}

/// A channel.
struct Line {
    comm: SimpleCommunicator,
    /// Why there is nobody to talk to any more.
    ended: Option<RankError>,
}

// SAFETY: MPI lets several threads talk, each over a communicator of its own: a `Line` is behind a lock.
unsafe impl Send for Line {}

/// Where the parts of `total` things begin, one for each rank, and how many each has.
fn parts(total: usize, ranks: usize) -> (Vec<i32>, Vec<i32>) {
    let begins = (0..=ranks).map(|rank| (total * rank / ranks) as i32);
    let begins: Vec<i32> = begins.collect();
    let counts = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    (counts, begins[..ranks].to_vec())
}

impl Line {
    /// Tells all ranks a word, and hears theirs; fails if one of them is that it has ended, with what
    /// `said` is of this rank.
    fn begin(&mut self, word: u64, said: &str) -> Result<Vec<u64>, RankError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let mut words = vec![0u64; self.comm.size() as usize];
        self.comm.all_gather_into(&word, &mut words[..]);
        let Some(first) = words.iter().position(|word| word & ENDED != 0) else {
            return Ok(words);
        };
        // All of them say why; with nothing to say a rank has just come to its end.
        let said = said.as_bytes();
        let mut lengths = vec![0u64; words.len()];
        self.comm
            .all_gather_into(&(said.len() as u64), &mut lengths[..]);
        let all = self.gather(said, &lengths);
        let rank = all.iter().position(|why| !why.is_empty()).unwrap_or(first);
        let why = String::from_utf8_lossy(&all[rank]).into_owned();
        let ended = RankError::Ended { rank, why };
        self.ended = Some(ended.clone());
        Err(ended)
    }

    /// What each rank gives, of these lengths.
    fn gather(&self, own: &[u8], lengths: &[u64]) -> Vec<Vec<u8>> {
        let counts: Vec<i32> = lengths.iter().map(|&bytes| bytes as i32).collect();
        let begins: Vec<i32> = counts
            .iter()
            .scan(0, |end, count| {
                *end += count;
                Some(*end - count)
            })
            .collect();
        let total = lengths.iter().sum::<u64>() as usize;
        // Nothing is passed as one byte's place: an empty vector's is what stands for MPI_IN_PLACE.
        let own = if own.is_empty() { &[0][..0] } else { own };
        let mut all = vec![0u8; total.max(1)];
        let mut into = PartitionMut::new(&mut all[..], &counts[..], &begins[..]);
        self.comm.all_gather_varcount_into(own, &mut into);
        let ranges = begins.iter().zip(&counts);
        ranges
            .map(|(&begin, &count)| all[begin as usize..(begin + count) as usize].to_vec())
            .collect()
    }

    /// Adds up the numbers of all ranks.
    fn sum(&self, rank: usize, numbers: &mut [f32]) {
        let ranks = self.comm.size() as usize;
        let (counts, begins) = parts(numbers.len(), ranks);
        let own = counts[rank] as usize;
        let mut terms = vec![0f32; own * ranks];
        let (of_each, places): (Vec<i32>, Vec<i32>) = (0..ranks)
            .map(|rank| (own as i32, (rank * own) as i32))
            .unzip();
        let from = Partition::new(&*numbers, &counts[..], &begins[..]);
        let mut into = PartitionMut::new(&mut terms[..], &of_each[..], &places[..]);
        self.comm.all_to_all_varcount_into(&from, &mut into);
        let (sum, others) = terms.split_at_mut(own);
        for of_rank in others.chunks_exact(own.max(1)) {
            for (sum, term) in sum.iter_mut().zip(of_rank) {
                *sum += term;
            }
        }
        let mut into = PartitionMut::new(&mut *numbers, &counts[..], &begins[..]);
        self.comm.all_gather_varcount_into(&*sum, &mut into);
    }
}

impl Process {
    fn line(&self, channel: Channel) -> MutexGuard<'_, Line> {
        line(&self.lines, channel)
    }

    fn take_ender(&self) -> Option<Ender> {
        let mut ender = self.of_rows.lock().unwrap_or_else(PoisonError::into_inner);
        ender.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its channel must be gone before MPI is.
        if let Some(ender) = self.take_ender() {
            ender.dismiss();
        }
    }
}

impl Exchange for Process {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn on_machine(&self) -> &[usize] {
        &self.on_machine
    }

    fn all_gather(&self, channel: Channel, own: Vec<u8>) -> Result<Gathered, RankError> {
        let mut line = self.line(channel);
        let lengths = line.begin(own.len() as u64, "")?;
        Ok(line.gather(&own, &lengths).into())
    }

    fn sum(&self, channel: Channel, numbers: &mut [f32]) -> Result<(), RankError> {
        let mut line = self.line(channel);
        let lengths = line.begin(4 * numbers.len() as u64, "")?;
        let expected = lengths[0];
        if let Some(rank) = lengths.iter().position(|&found| found != expected) {
            return Err(RankError::Uneven {
                rank,
                found: lengths[rank] as usize,
                expected: expected as usize,
            });
        }
        line.sum(self.rank, numbers);
        Ok(())
    }

    fn end(&self, why: Option<&str>) -> Option<RankError> {
        let said = why.unwrap_or_default();
        let say = |channel| self.line(channel).begin(ENDED, said).err();
        // At once: the others may wait on either.
        let ender = self.take_ender();
        let (rows, steps) = match ender {
            Some(ender) => ender.beside(said, || say(Channel::Steps)),
            // It has been said before; or there was no thread, and nobody comes to train.
            None => {
                let steps = say(Channel::Steps);
                (say(Channel::Rows), steps)
            }
        };
        let failed = |ended: &RankError| match ended {
            RankError::Ended { why, .. } => !why.is_empty(),
            RankError::Uneven { .. } => true,
        };
        [steps, rows].into_iter().flatten().find(failed)
    }
}
