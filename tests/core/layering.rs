//! The floors of the crate as a table, checked against what each file really imports and says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate, with what it may use beside the floors below its own.
const FLOORS: &[&[(&str, &[&str])]] = &[
    // 0 words
    &[("clock", &[]), ("compact", &[]), ("identity", &[]), ("outcome", &[]), ("secret", &[])],
    // 1 core
    &[
        ("radius", &[]),
        ("otp", &[]),
        ("lockout", &[]),
        ("policy", &["radius", "otp"]),
        ("tokens", &["otp"]),
        ("formats", &["otp"]),
        ("authenticate", &["lockout", "otp", "policy", "tokens", "radius"]),
    ],
    // 2 memory
    &[("metrics", &[]), ("state", &["metrics"])],
    // 3 edges
    &[("listen", &[]), ("directory", &[]), ("store", &[]), ("cluster", &[]), ("audit", &[]), ("mail", &[])],
    // 4 service
    &[("pipeline", &[]), ("admin", &["pipeline"])],
    // 5 assembly
    &[
        ("http", &[]),
        ("config", &["http"]),
        ("daemon", &["http", "config"]),
        ("cli", &["http", "config", "daemon"]),
        ("fuzzing", &["config"]),
    ],
];

/// What a floor and all floors below it may not say: the word, the highest floor it is forbidden on, and why.
const FORBIDDEN: &[(&str, usize, &str)] = &[
    ("async", 2, "nothing below the edges waits"),
    ("await", 2, "nothing below the edges waits"),
    ("tokio", 2, "nothing below the edges waits"),
    ("sleep", 2, "nothing below the edges waits"),
    ("std::fs", 2, "files belong to edges"),
    ("std::env", 2, "the environment belongs to the assembly"),
    ("std::process", 2, "processes belong to the assembly"),
    ("UdpSocket", 2, "sockets belong to edges"),
    ("TcpStream", 2, "sockets belong to edges"),
    ("TcpListener", 2, "sockets belong to edges"),
    ("UnixStream", 2, "sockets belong to edges"),
    ("UnixListener", 2, "sockets belong to edges"),
    ("UnixDatagram", 2, "sockets belong to edges"),
    ("SystemTime::now", 2, "time comes in as a Moment"),
    ("Instant::now", 2, "time comes in as a Moment"),
    ("clock::now", 2, "time comes in as a Moment"),
    ("getrandom", 2, "randomness comes in as bytes"),
    ("Mutex", 1, "floors 0 and 1 have no locks"),
    ("RwLock", 1, "floors 0 and 1 have no locks"),
    ("DashMap", 1, "floors 0 and 1 have no locks"),
    ("unsafe", 5, "no unsafe code at all"),
];

/// The one file that may read the clocks.
const CLOCK: &str = "clock.rs";

/// Names that say nothing: a homeless function is a concept without a name.
const FORBIDDEN_NAMES: &[&str] =
    &["common", "helper", "helpers", "manager", "misc", "prelude", "types", "util", "utils"];

/// Past this many lines a file holds two subjects.
const LINES_MAX: usize = 800;

#[test]
fn a_module_uses_only_the_floors_below_its_own() {
    let mut wrong = Vec::new();
    for file in sources() {
        let (own_floor, exceptions) = place(&file.module).expect("every module has a floor");
        for used in imports(&file.code(), file.depth) {
            let Some((floor, _)) = place(&used) else {
                wrong.push(format!("{}: crate::{used} is no module with a floor", file.name));
                continue;
            };
            if used != file.module && floor >= own_floor && !exceptions.contains(&used.as_str()) {
                wrong.push(format!("{} (floor {own_floor}) uses {used} (floor {floor})", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor_and_every_floor_its_modules() {
    let listed: BTreeSet<String> =
        FLOORS.iter().flat_map(|floor| floor.iter().map(|(name, _)| (*name).to_owned())).collect();
    let present: BTreeSet<String> = sources().into_iter().map(|file| file.module).collect();
    let unplaced: Vec<_> = present.difference(&listed).collect();
    assert!(unplaced.is_empty(), "modules without a floor: {unplaced:?}");
    // A floor may name a module that is only built for the fuzzer, but none that does not exist.
    let missing: Vec<_> = listed.difference(&present).collect();
    assert!(missing.is_empty(), "floors name what is not there: {missing:?}");
}

#[test]
fn the_lower_floors_neither_wait_nor_read_clocks_nor_touch_the_world() {
    let mut wrong = Vec::new();
    for file in sources() {
        let (floor, _) = place(&file.module).expect("every module has a floor");
        let code = file.code();
        for (word, highest, why) in FORBIDDEN {
            let clock = file.name == CLOCK && word.ends_with("::now");
            if floor <= *highest && !clock && says(&code, word) {
                wrong.push(format!("{}: {word} ({why})", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_and_is_short_enough_to_read() {
    let mut wrong = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["src", "tests", "benches", "fuzz"].iter().flat_map(|folder| rust_files(&root.join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display();
        let sentence = text.lines().next().and_then(|line| line.strip_prefix("//! ")).unwrap_or_default();
        if sentence.len() < 10 {
            wrong.push(format!("{name}: the first line must be //! and a sentence that says what is in it"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{name}: {lines} lines; split it at its second subject"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn names_say_something() {
    let mut wrong = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&root) {
        let within = path.strip_prefix(&root).unwrap();
        for part in within.with_extension("").iter().map(|part| part.to_string_lossy()) {
            if FORBIDDEN_NAMES.contains(&part.as_ref()) {
                wrong.push(format!("{}: {part} says nothing", within.display()));
            }
        }
        let code = code_only(&without_tests(&fs::read_to_string(&path).unwrap()));
        if let Some(at) = code.find("fn get_") {
            let name: String =
                code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            wrong.push(format!("{}: {name}: no get_", within.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_every_spelling() {
    let code = "use crate::{clock::Moment, otp::{Code, Drift},\n radius};\nuse crate::state;\n\
                fn f() { crate::outcome::x(); super::super::identity::y(); super::own::z(); }";
    let found = imports(code, 2);
    assert_eq!(found, ["clock", "identity", "otp", "outcome", "radius", "state"].map(String::from).into());
    assert_eq!(imports("use super::clock;", 1), ["clock".to_owned()].into());
    assert!(imports("use super::clock; mycrate::x();", 2).is_empty());
}

#[test]
fn the_reader_of_words_skips_comments_texts_and_tests() {
    let code = code_only(&without_tests(
        "let a = \"async \\\" await\"; // tokio\nlet c = '\"'; let r = r#\"Mutex\"#; /* unsafe */ let b: &'a str = x;\n\
         #[cfg(test)]\nmod tests;\nkept();\n#[cfg(test)]\nmod tests {\n std::fs::read();\n}\n",
    ));
    for word in ["async", "await", "tokio", "Mutex", "unsafe", "std::fs"] {
        assert!(!says(&code, word), "{word} in {code}");
    }
    assert!(says(&code, "kept") && says(&code, "str") && says("x.lock(Mutex::new())", "Mutex"));
    assert!(!says("asynchronous MutexGuarded", "async") && !says("MutexGuarded", "Mutex"));
}

/// One source file outside tests.
struct Source {
    /// Its path below `src/`.
    name: String,
    /// The module of the crate it belongs to.
    module: String,
    /// How deep its module lies: 1 for a module of the crate.
    depth: usize,
    text: String,
}

impl Source {
    fn code(&self) -> String {
        code_only(&without_tests(&self.text))
    }
}

/// All files of the crate that end up in a release, but the root and the program.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root).into_iter().filter_map(|path| {
        let within = path.strip_prefix(&root).unwrap().to_owned();
        let parts: Vec<String> =
            within.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts.iter().any(|part| part == "tests") || ["lib", "main"].contains(&parts[0].as_str()) {
            return None;
        }
        Some(Source {
            name: within.display().to_string(),
            module: parts[0].clone(),
            depth: parts.iter().filter(|part| *part != "mod").count(),
            text: fs::read_to_string(&path).unwrap(),
        })
    });
    let files: Vec<Source> = files.collect();
    assert!(files.len() > 20, "the sources are found");
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn place(module: &str) -> Option<(usize, &'static [&'static str])> {
    FLOORS.iter().enumerate().find_map(|(floor, modules)| {
        modules.iter().find(|(name, _)| *name == module).map(|(_, exceptions)| (floor, *exceptions))
    })
}

/// The modules of the crate that a piece of code names: behind `crate::`, and behind as many `super::` as lead there.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let to_root = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for start in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = code[at + start.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(group) => found.extend(first_words(group)),
                None => found.extend(word(rest)),
            }
        }
    }
    // A name of the crate's root that is no module is a macro; there are none that a module may use.
    found.remove("super");
    found
}

/// The first word of each member of a `{…}` group, which the text begins inside of.
fn first_words(group: &str) -> Vec<String> {
    let (mut words, mut nesting, mut member) = (Vec::new(), 0_usize, String::new());
    for c in group.chars() {
        match c {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => {
                words.extend(word(member.trim()));
                member.clear();
                continue;
            }
            _ => {}
        }
        if nesting == 0 {
            member.push(c);
        }
    }
    words.extend(word(member.trim()));
    words
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Whether code says a word or a path, not only as a part of a longer one.
fn says(code: &str, wanted: &str) -> bool {
    code.match_indices(wanted).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = (code[..at].chars().next_back(), code[at + wanted.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The text up to its test module; declarations of test files are passed over.
fn without_tests(text: &str) -> String {
    let text = text.replace("#[cfg(test)]\nmod tests;\n", "");
    match text.find("#[cfg(test)]\nmod ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Code without comments and without what stands in texts.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw_quote = rest.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_quote.filter(|hashes| {
            rest[1 + hashes..].starts_with('"') && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        }) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[2 + hashes..].find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len())
        } else if c == '"' {
            quoted(rest)
        } else if c == '\'' && rest[1..].starts_with('\\') {
            3 + rest[3..].find('\'').map_or(rest.len() - 3, |at| at + 1)
        } else if c == '\'' && rest[1..].chars().nth(1) == Some('\'') {
            2 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of a text in quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
