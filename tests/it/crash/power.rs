//! Simulated power loss: ext4 in a loop image, the image copied as the device while the writer is
//! stopped, the copy mounted (its file system journal is replayed) and read.
//!
//! What a volatile cache inside a real device would lose on top of this is not modelled.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crane_core::RunId;

use crate::program::process::eventually;

use super::{Notes, Random, Task, checker, is_root, kill, spawn_child, system};

const ROUNDS: u32 = 8;
const IMAGE_MIB: u64 = 64;

/// A mounted file system in an image file.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn format(notes: &Notes) -> Self {
        let image = notes.path("disk.img");
        let file = std::fs::File::create(&image).expect("an image file");
        file.set_len(IMAGE_MIB << 20).expect("room for the image");
        system("mkfs.ext4", &["-q", "-F", text(&image)]);
        Self::mount(image, notes.path("disk"))
    }

    fn mount(image: PathBuf, mount: PathBuf) -> Self {
        std::fs::create_dir_all(&mount).expect("a mount point");
        system("mount", &["-o", "loop", text(&image), text(&mount)]);
        Self { image, mount }
    }

    /// The device as it would be found if the power went now.
    fn cut(&self, notes: &Notes) -> Self {
        let image = notes.path("cut.img");
        std::fs::copy(&self.image, &image).expect("a copy of the device");
        Self::mount(image, notes.path("cut"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        system("umount", &[text(&self.mount)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn ids(lines: &[String]) -> Vec<RunId> {
    lines.iter().filter_map(|line| line.parse().ok()).collect()
}

/// Cuts the power of a loaded node `rounds` times; the rounds in which something acknowledged was
/// lost.
fn cut_power(rounds: u32, sabotage: Option<&str>) -> Vec<String> {
    let notes = Notes::new();
    let disk = Disk::format(&notes);
    let data = disk.mount.join("data");
    let mut random = Random::from_env();
    let mut wrong = Vec::new();
    for generation in 0..rounds {
        let before = notes.lines("accepted").len();
        let child = spawn_child(&data, &notes, generation, Task::Load, sabotage);
        eventually("the first run accepted", || {
            notes.lines("accepted").len() > before
        });
        // The instant at which the power goes.
        std::thread::sleep(Duration::from_millis(300 + random.below(500)));
        let pid = child.id().to_string();
        system("kill", &["-STOP", &pid]);
        let (accepted, ended) = (ids(&notes.lines("accepted")), ids(&notes.lines("ended")));
        let cut = disk.cut(&notes);
        let lost = checker::lost(&cut.mount.join("data"), &accepted, &ended);
        wrong.extend(
            lost.into_iter()
                .map(|what| format!("round {generation}: {what}")),
        );
        drop(cut);
        kill(child);
    }
    wrong
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    if !is_root("cutting the power of a loop device") {
        return;
    }
    assert_eq!(cut_power(ROUNDS, None), Vec::<String>::new());
}

#[test]
fn the_power_loss_test_goes_red_without_fsync() {
    if !is_root("cutting the power of a loop device") {
        return;
    }
    let wrong = cut_power(3, Some("journal.sync=skip"));
    assert!(!wrong.is_empty(), "a journal without fsync was not noticed");
}
