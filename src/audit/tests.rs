//! The audit file as a whole: torn ends, faults, rotation, and a table of tampering.

use super::*;
use crate::clock::Wall;
use std::fs;
use tempfile::TempDir;

struct Bench {
    directory: TempDir,
    settings: Settings,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { file: directory.path().join("audit.jsonl"), on_failure: OnFailure::Stop };
        Bench { directory, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> (Audit, u64) {
        Audit::open(&self.settings).unwrap()
    }

    fn read(&self) -> Vec<u8> {
        fs::read(&self.settings.file).unwrap()
    }
}

fn evidence(sequences: impl IntoIterator<Item = u64>) -> Vec<(u64, Box<[u8]>)> {
    let line = |sequence| Line::new(Wall::from_seconds(sequence), "login").number("n", sequence).finish();
    sequences.into_iter().map(|sequence| (sequence, line(sequence))).collect()
}

fn each(evidence: &[(u64, Box<[u8]>)]) -> impl Iterator<Item = (u64, &[u8])> {
    evidence.iter().map(|(sequence, evidence)| (*sequence, &**evidence))
}

fn durable_upto(audit: &Audit) -> u64 {
    audit.writer().durable
}

#[test]
fn lines_are_json_and_chained() {
    let bench = Bench::new();
    let (audit, last) = bench.open();
    assert_eq!(last, 0);
    audit.append(each(&evidence([1, 2, 5]))).unwrap();
    assert_eq!(audit.sync(), Ok(5));
    let text = String::from_utf8(bench.read()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["prev"], "0".repeat(64));
    assert_eq!(lines[2]["seq"], 5);
    let whole = verify(&[&bench.settings.file]).unwrap();
    assert_eq!((whole.lines, whole.first, whole.last, whole.start), (3, 1, 5, Start::Beginning));
}

#[test]
fn a_line_torn_at_any_octet_is_written_again_to_the_same_octets() {
    let bench = Bench::new();
    let all = evidence(1..=2);
    bench.open().0.append(each(&all)).unwrap();
    let good = bench.read();
    for len in 0..good.len() {
        for zeros in [0, 700] {
            let mut torn = good[..len].to_vec();
            torn.resize(len + zeros, 0);
            fs::write(&bench.settings.file, torn).unwrap();
            let (audit, last) = bench.open();
            let missing: Vec<_> = all.iter().filter(|(sequence, _)| *sequence > last).cloned().collect();
            audit.append(each(&missing)).unwrap();
            assert_eq!(bench.read(), good, "{len} octets and {zeros} zeros were left");
        }
    }
}

#[test]
fn octets_lost_in_the_middle_of_the_end_are_written_again() {
    let bench = Bench::new();
    let all = evidence(1..=40);
    bench.open().0.append(each(&all)).unwrap();
    let good = bench.read();
    let mut holed = good.clone();
    holed[1000..1512].fill(0);
    fs::write(&bench.settings.file, holed).unwrap();
    let (audit, last) = bench.open();
    assert!(last > 0 && last < 40);
    // Whatever the journal hands over again besides is left out.
    audit.append(each(&all)).unwrap();
    assert_eq!(bench.read(), good);
}

#[test]
fn a_file_of_something_else_is_not_touched() {
    let bench = Bench::new();
    for other in ["root:x:0:0:root:/root:/bin/sh\n", "no newline", "{\"json\":\"but not ours\"}\n", "\n"] {
        fs::write(&bench.settings.file, other).unwrap();
        assert!(matches!(Audit::open(&bench.settings), Err(Error::NotAudit(_))), "{other:?}");
        assert_eq!(bench.read(), other.as_bytes());
    }
}

#[test]
fn two_daemons_cannot_write_one_file() {
    let bench = Bench::new();
    let _first = bench.open();
    assert!(matches!(Audit::open(&bench.settings), Err(Error::InUse(_))));
}

#[test]
fn a_rotated_file_goes_on_in_the_new_one_and_survives_a_restart() {
    let bench = Bench::new();
    let (audit, _) = bench.open();
    audit.append(each(&evidence(1..=3))).unwrap();
    audit.reopen().unwrap();
    let old = bench.path("audit.jsonl.1");
    fs::rename(&bench.settings.file, &old).unwrap();
    audit.append(each(&evidence([4]))).unwrap();
    audit.reopen().unwrap();
    drop(audit);
    let (audit, last) = bench.open();
    assert_eq!(last, 4);
    audit.append(each(&evidence([5]))).unwrap();
    let whole = verify(&[&old, &bench.settings.file]).unwrap();
    // One line says that the chain goes on.
    assert_eq!((whole.lines, whole.first, whole.last), (6, 1, 5));
    assert_eq!(verify(&[&bench.settings.file]).unwrap().start, Start::Middle);
}

#[test]
fn sec_13_a_removed_file_is_made_again_and_the_chain_shows_the_loss() {
    let bench = Bench::new();
    let (audit, _) = bench.open();
    audit.append(each(&evidence(1..=3))).unwrap();
    audit.sync().unwrap();
    fs::remove_file(&bench.settings.file).unwrap();
    audit.append(each(&evidence([4]))).unwrap();
    let whole = verify(&[&bench.settings.file]).unwrap();
    assert_eq!((whole.first, whole.last, whole.start), (4, 4, Start::Middle));
}

#[test]
fn prepared_lines_are_those_that_would_have_been_made() {
    let (plain, bench) = (Bench::new(), Bench::new());
    let ((plainly, _), (audit, _)) = (plain.open(), bench.open());
    let all = evidence(1..=9);
    for run in [&all[..3], &all[3..5], &all[6..7], &all[7..]] {
        plainly.append(each(run)).unwrap();
    }
    // As it should be; prepared for nothing, because it never became certain; the chain went on otherwise meanwhile;
    // nobody prepared.
    audit.prepare(each(&all[..3]));
    assert!(bench.read().is_empty(), "nothing is written before it is certain");
    audit.append(each(&all[..3])).unwrap();
    audit.prepare(each(&all[5..6]));
    audit.append(each(&all[3..5])).unwrap();
    audit.prepare(each(&all[6..8]));
    audit.catch_up(each(&all[6..7])).unwrap();
    audit.append(each(&all[6..8])).unwrap();
    audit.prepare([]);
    audit.append(each(&all[7..])).unwrap();
    assert_eq!(audit.sync(), Ok(9));
    assert_eq!(bench.read(), plain.read());
    assert_eq!(audit.figures().lines.load(Ordering::Relaxed), 8);
}

#[test]
fn lines_that_come_during_a_sync_share_its_fate() {
    let all = evidence(1..=6);
    let failed = || Err(io::ErrorKind::StorageFull.into());
    for (result, durable) in [(Ok(()), 4), (failed(), 2)] {
        let bench = Bench::new();
        let (audit, _) = bench.open();
        audit.append(each(&all[..2])).unwrap();
        assert_eq!(audit.sync(), Ok(2));
        audit.append(each(&all[2..4])).unwrap();
        let (file, upto) = audit.writer().begin_sync().unwrap();
        audit.append(each(&all[4..5])).unwrap();
        let before = bench.read();
        let fails = result.is_err();
        audit.writer().end_sync(&file, upto, result);
        assert_eq!((upto, durable_upto(&audit), audit.trouble().is_some()), (4, durable, fails));
        audit.append(each(&all[5..])).unwrap();
        assert_eq!((audit.sync(), audit.unsynced()), (Ok(6), 0));
        let whole = verify(&[&bench.settings.file]).unwrap();
        assert_eq!((whole.lines, whole.last, bench.read().starts_with(&before)), (6, 6, true));
    }
}

#[test]
fn a_file_removed_during_a_sync_is_made_again_with_what_was_to_be_synced() {
    let bench = Bench::new();
    let (audit, _) = bench.open();
    let all = evidence(1..=3);
    audit.append(each(&all[..2])).unwrap();
    let (file, upto) = audit.writer().begin_sync().unwrap();
    fs::remove_file(&bench.settings.file).unwrap();
    audit.append(each(&all[2..])).unwrap();
    audit.writer().end_sync(&file, upto, Ok(()));
    assert_eq!((durable_upto(&audit), audit.sync()), (0, Ok(3)));
    assert_eq!(verify(&[&bench.settings.file]).unwrap().lines, 3);
}

#[test]
fn sec_13_a_full_disk_is_told_and_nothing_is_lost_when_it_clears() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/dev/full", &bench.settings.file).unwrap();
    let (audit, _) = bench.open();
    assert_eq!(audit.append(each(&evidence(1..=2))).unwrap_err().kind, io::ErrorKind::StorageFull);
    assert!(audit.trouble().is_some() && audit.stops_service());
    assert!(audit.figures().failures.load(Ordering::Relaxed) > 0);
    // The disk clears: here the link is replaced, and the daemon told to open the file again.
    fs::remove_file(&bench.settings.file).unwrap();
    audit.writer().file = Arc::new(open_file(&bench.settings.file).unwrap());
    audit.append(each(&evidence([3]))).unwrap();
    assert_eq!((audit.trouble(), audit.sync()), (None, Ok(3)));
    assert_eq!(verify(&[&bench.settings.file]).unwrap().lines, 3);
}

#[test]
fn sec_13_what_does_not_fit_into_memory_comes_from_the_journal() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/dev/full", &bench.settings.file).unwrap();
    let (audit, _) = bench.open();
    let all = evidence(2..=5);
    assert!(audit.append([(1, &*[b"{\"x\":\"".as_slice(), &[b' '; PENDING_MAX], b"\""].concat())]).is_err());
    assert!(audit.append(each(&all[..2])).is_err());
    assert_eq!(audit.left(), Some((1, 3)));
    fs::remove_file(&bench.settings.file).unwrap();
    audit.writer().file = Arc::new(open_file(&bench.settings.file).unwrap());
    assert!(audit.sync().is_err());
    assert!(audit.append(each(&all[2..3])).is_err(), "a newer line would hide that some are missing");
    assert_eq!(audit.left(), Some((1, 4)));
    assert!(audit.catch_up(each(&all[..1])).is_err());
    assert_eq!(audit.left(), Some((2, 4)));
    audit.catch_up(each(&all[1..3])).unwrap();
    audit.append(each(&all[3..])).unwrap();
    assert_eq!((audit.left(), audit.sync()), (None, Ok(5)));
    fs::write(
        bench.path("rest"),
        bench.read().split_inclusive(|&octet| octet == b'\n').skip(1).collect::<Vec<_>>().concat(),
    )
    .unwrap();
    let whole = verify(&[bench.path("rest")]).unwrap();
    assert_eq!((whole.lines, whole.first, whole.last), (4, 2, 5));
}

#[test]
fn tampering_is_noticed_and_placed() {
    let bench = Bench::new();
    bench.open().0.append(each(&evidence(1..=6))).unwrap();
    let good: Vec<String> = String::from_utf8(bench.read()).unwrap().lines().map(str::to_owned).collect();
    // A line that fits behind the third.
    let mut forged = Vec::new();
    Tail::of(good[2].as_bytes(), 3).append(&mut forged, 4, &evidence([9])[0].1);
    let forged = String::from_utf8(forged).unwrap().trim_end().to_owned();
    type Change = Box<dyn Fn(&mut Vec<String>)>;
    let changed = good[2].replace("\"n\":3", "\"n\":7");
    let table: [(&str, Change, u64, Why); 8] = [
        ("changed", Box::new(move |lines| lines[2] = changed.clone()), 4, Why::Changed),
        ("removed", Box::new(|lines| drop(lines.remove(2))), 3, Why::ChangedOrRemoved),
        ("first removed and another", Box::new(|lines| drop(lines.drain(..3).nth(1))), 0, Why::NotALine),
        ("inserted", Box::new(move |lines| lines.insert(3, forged.clone())), 5, Why::Inserted),
        ("repeated", Box::new(|lines| lines.insert(3, lines[2].clone())), 4, Why::Moved),
        ("reordered", Box::new(|lines| lines.swap(2, 3)), 3, Why::ChangedOrRemoved),
        ("garbage", Box::new(|lines| lines.insert(1, "{}".into())), 2, Why::NotALine),
        ("cut line", Box::new(|lines| lines[5].truncate(40)), 6, Why::NotALine),
    ];
    for (name, change, line, why) in table {
        let mut lines = good.clone();
        change(&mut lines);
        let path = bench.path("tampered");
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        match verify(&[&path]) {
            Err(broken) => assert_eq!((broken.line, broken.why), (line, why), "{name}"),
            // A chain without its beginning is whole, and says that it has none.
            Ok(whole) => assert_eq!((line, whole.start), (0, Start::Middle), "{name}"),
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let bench = Bench::new();
    bench.open().0.append(each(&evidence(1..=3))).unwrap();
    let good = bench.read();
    let last =
        good.len() - 1 - good[..good.len() - 1].iter().rev().position(|&octet| octet == b'\n').unwrap();
    // The last line is covered by the next one, or by the hash that was kept elsewhere.
    for bit in 0..last * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&bench.settings.file, bad).unwrap();
        assert!(verify(&[&bench.settings.file]).is_err(), "bit {bit}");
    }
}

#[test]
fn a_file_that_lost_its_end_is_noticed_when_a_later_one_goes_on() {
    let bench = Bench::new();
    let (audit, _) = bench.open();
    audit.append(each(&evidence(1..=3))).unwrap();
    let old = bench.path("old");
    fs::rename(&bench.settings.file, &old).unwrap();
    audit.reopen().unwrap();
    audit.append(each(&evidence([4]))).unwrap();
    let text = fs::read_to_string(&old).unwrap();
    let shorter: Vec<&str> = text.lines().take(2).collect();
    fs::write(&old, shorter.join("\n") + "\n").unwrap();
    let broken = verify(&[&old, &bench.settings.file]).unwrap_err();
    assert_eq!((broken.file, broken.line, broken.why), (bench.settings.file.clone(), 1, Why::EndCut));
}
