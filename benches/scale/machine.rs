//! What the system says of this process, and what the machine itself does.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rustix::fs::Advice;
use rustix::time::ClockId;
use tokio::time::Instant;

/// Clock ticks of /proc/stat in a second, the same on every Linux that people use.
const TICKS: f64 = 100.0;

/// Memory of this process that is resident: now, and at most since [`reset_peak`]; in bytes.
pub(crate) fn resident() -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bytes = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes = kibibytes.with_context(|| format!("/proc/self/status has no {name}"))?;
        Ok(kibibytes.parse::<u64>()? * 1_024)
    };
    Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
}

/// From now on the peak of [`resident`] is counted anew.
pub(crate) fn reset_peak() -> anyhow::Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of resident memory")
}

/// Processor time that this process has used, all threads together.
pub(crate) fn processor() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time that the whole machine has used, in seconds.
fn machine_processor() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
    let busy = |place: &usize| !matches!(place, 3 | 4);
    let places = (0..ticks.len().min(8)).filter(busy);
    Ok(places.map(|place| ticks[place]).sum::<u64>() as f64 / TICKS)
}

/// A stretch of time: how long it is, and who used the cores meanwhile.
#[derive(Debug)]
pub(crate) struct Stretch {
    begun: Instant,
    own: Duration,
    machine: f64,
}

/// What a [`Stretch`] came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretched {
    /// How long it was, in seconds.
    pub(crate) seconds: f64,
    /// Cores that this process used on average.
    pub(crate) own_cores: f64,
    /// Cores that everybody else used on average.
    pub(crate) other_cores: f64,
}

impl Stretch {
    /// Begins now.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            own: processor(),
            machine: machine_processor()?,
        })
    }

    /// Ends now.
    pub(crate) fn end(&self) -> anyhow::Result<Stretched> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let own = (processor() - self.own).as_secs_f64();
        let others = (machine_processor()? - self.machine - own).max(0.0);
        Ok(Stretched {
            seconds,
            own_cores: own / seconds,
            other_cores: others / seconds,
        })
    }
}

/// What this process has written so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Bytes that it has caused to be sent to a disk.
    pub(crate) bytes: u64,
    /// System calls that write.
    pub(crate) calls: u64,
}

/// See [`Written`].
pub(crate) fn written() -> anyhow::Result<Written> {
    let io = fs::read_to_string("/proc/self/io")?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        let number = line.with_context(|| format!("/proc/self/io has no {name}"))?;
        Ok(number.trim().parse()?)
    };
    Ok(Written {
        bytes: number("write_bytes:")?,
        calls: number("syscw:")?,
    })
}

/// How often threads of this process have gone to sleep so far, which is how often they woke up.
pub(crate) fn sleeps() -> anyhow::Result<u64> {
    let mut all = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        all += line.unwrap_or_default().trim().parse::<u64>()?;
    }
    Ok(all)
}

/// Every file below `dir`, with its size and when it was written.
pub(crate) fn files(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            all.extend(files(&entry.path())?);
        } else {
            all.insert(entry.path(), (metadata.len(), metadata.modified()?));
        }
    }
    Ok(all)
}

/// Drops the files below `dir` from the page cache, as if the machine had just booted.
pub(crate) fn forget(dir: &Path) -> anyhow::Result<()> {
    for path in files(dir)?.keys() {
        let file = File::open(path)?;
        // What has not been written to the disk stays in the cache.
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// What an fdatasync takes on this disk: 4 KiB each, into a file that was written before.
///
/// On a busy machine most of the time of a sample may be spent waiting for a core after the disk
/// has long answered: measured beside two compilers, 4 ms, of which the disk took 0.1 ms. A
/// comparison with such samples flatters whoever is compared. So each sample is given both ways.
#[derive(Debug)]
pub(crate) struct Probe {
    file: File,
    next: u64,
}

/// One write with its sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From the call to its return, in microseconds.
    pub(crate) elapsed: f64,
    /// The same without the time in which this thread could run and no core was free.
    pub(crate) disk: f64,
}

impl Probe {
    const BLOCK: usize = 4_096;
    const BLOCKS: u64 = 4_096;

    /// Makes the file in `dir`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(dir.join("probe"))?;
        let zeros = vec![0; Self::BLOCK * Self::BLOCKS as usize];
        file.write_all_at(&zeros, 0)?;
        file.sync_all()?;
        Ok(Self { file, next: 0 })
    }

    /// So many samples, one after the other.
    pub(crate) fn samples(&mut self, count: usize) -> anyhow::Result<Vec<Sample>> {
        (0..count).map(|_| self.sample()).collect()
    }

    fn sample(&mut self) -> anyhow::Result<Sample> {
        let offset = self.next % Self::BLOCKS * Self::BLOCK as u64;
        self.next += 1;
        let waited = waited_for_core()?;
        let begun = Instant::now();
        self.file.write_all_at(&[0x5a; Self::BLOCK], offset)?;
        self.file.sync_data()?;
        let elapsed = begun.elapsed();
        let waited = waited_for_core()?.saturating_sub(waited);
        Ok(Sample {
            elapsed: elapsed.as_secs_f64() * 1e6,
            disk: elapsed.saturating_sub(waited).as_secs_f64() * 1e6,
        })
    }
}

/// How long the calling thread has waited for a core so far, while it could have run.
fn waited_for_core() -> anyhow::Result<Duration> {
    // Nanoseconds on a core, nanoseconds waiting for one, number of turns.
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let waited = stat.split_whitespace().nth(1);
    let waited = waited.context("/proc/thread-self/schedstat has no second number")?;
    Ok(Duration::from_nanos(waited.parse()?))
}
