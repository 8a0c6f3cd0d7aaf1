//! The layers of a configuration laid over each other, each value with the place it comes from.
//!
//! From below: built-in defaults, the files that `services` names, FILE, `conf.d/*.toml` beside it in the order of
//! their names, the environment. A value replaces the one below it, a table is laid over the one below it, and the
//! `[[radius.client]]` of all files stand together. The environment is written as one TOML text first, so that it is
//! read as strictly as any file.

use super::document::{self, Document, Syntax, line_and_column};
use super::file::{Root, Services};
use super::problem::{Key, Part, Place, Problem, Weight};
use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a configuration is read from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The file that is named on the command line.
    pub file: PathBuf,
    /// The environment, names and values.
    pub environment: Vec<(String, String)>,
    /// Where systemd has put credentials.
    pub credentials: Option<PathBuf>,
}

impl Inputs {
    /// The file, with this process's environment.
    pub fn of_process(file: &Path) -> Inputs {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        Inputs {
            file: file.to_owned(),
            environment: std::env::vars_os().filter_map(text).collect(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }
}

/// All layers in one.
pub struct Layers {
    root: Value,
    texts: Texts,
    removed: Vec<Key>,
    syntax: Syntax,
}

/// The texts that have been read, by their number in the origin of values.
#[derive(Default)]
struct Texts(Vec<Text>);

/// A text that values come from.
enum Text {
    Defaults,
    File(PathBuf),
    /// The variable on each line.
    Environment(Vec<String>),
}

const DEFAULTS: &str = include_str!("defaults.toml");

/// Variables begin so: `SEKISHO__RADIUS__LISTEN` is `radius.listen`.
const PREFIX: &str = "SEKISHO__";

/// A longer text is no configuration.
const TEXT_MAX: u64 = 4 << 20;

impl Layers {
    /// Reads everything and lays it together; also what could not be read, so that the rest is checked too.
    pub fn read(inputs: &Inputs) -> (Layers, Vec<Problem>) {
        let mut pile = Pile::default();
        let defaults = pile.document::<Defaults>(Text::Defaults, DEFAULTS);
        let mut own = vec![pile.file::<Root>(&inputs.file)];
        for file in drop_ins(&inputs.file, &mut pile.problems) {
            own.push(pile.file::<Root>(&file));
        }
        let mut profiles = Vec::new();
        for document in &own {
            for (pattern, value) in patterns(&document.table) {
                for file in pile.matching(&pattern, value) {
                    profiles.push(pile.file::<Services>(&file));
                }
            }
        }
        own.push(pile.environment(&inputs.environment));

        let mut builder = Config::builder();
        let (mut each_client, mut each_service) = (Map::new(), Map::new());
        let mut clients = Vec::new();
        for mut document in std::iter::once(defaults).chain(profiles).chain(own) {
            each_client.extend(take_table(&mut document.table, "each-client"));
            each_service.extend(take_table(&mut document.table, "each-service"));
            let before = clients.len();
            clients.extend(take_clients(&mut document.table));
            pile.removed.extend(document.removed.iter().map(|key| renumbered(key, before)));
            builder = builder.add_source(Layer(document.table));
        }
        let mut root = match builder.build() {
            Ok(config) => config.cache,
            Err(error) => {
                pile.problems.push(unreadable(Place::File(inputs.file.clone(), None), &error.to_string()));
                Value::new(None, ValueKind::Table(Map::new()))
            }
        };
        for client in &mut clients {
            lay_under(client, &each_client);
        }
        if let ValueKind::Table(table) = &mut root.kind {
            if let Some(Value { kind: ValueKind::Table(radius), .. }) = table.get_mut("radius") {
                radius.insert("client".to_owned(), Value::new(None, ValueKind::Array(clients)));
            }
            if let Some(Value { kind: ValueKind::Table(services), .. }) = table.get_mut("service") {
                services.values_mut().for_each(|service| lay_under(service, &each_service));
            }
        }
        let Pile { texts, removed, syntax, problems } = pile;
        (Layers { root, texts, removed, syntax }, problems)
    }

    /// The whole as one value.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Whether all texts were TOML; if not, nobody can say what is missing.
    pub fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// Whether the value was there but wrong, so that its absence is no second problem.
    pub fn is_removed(&self, key: &Key) -> bool {
        self.removed.iter().any(|removed| key.is_within(removed) || removed.is_within(key))
    }

    /// The value of a key.
    pub fn value(&self, key: &Key) -> Option<&Value> {
        key.parts().iter().try_fold(&self.root, |value, part| match (&value.kind, part) {
            (ValueKind::Table(table), Part::Name(name)) => table.get(name),
            (ValueKind::Array(items), Part::Item(at)) => items.get(*at),
            _ => None,
        })
    }

    /// Where a problem with a key belongs: to the value, to what stands in the table around it if the value is missing
    /// or default, and else to FILE.
    pub fn place(&self, key: &Key) -> Place {
        let set = self.value(key).map(|value| self.origin(value)).filter(|place| *place != Place::Default);
        let around = || {
            let tables = std::iter::successors(Some(key.clone()), Key::parent);
            let mut tables = tables.take_while(|key| !key.parts().is_empty());
            tables.find_map(|key| self.first_place(self.value(&key)?))
        };
        let file = || {
            let file = self.texts.files().next();
            file.map_or(Place::Default, |file| Place::File(file.to_owned(), None))
        };
        set.or_else(around).unwrap_or_else(file)
    }

    /// The folder of the file that a value stands in; that of FILE for all other values.
    pub fn folder(&self, value: &Value) -> &Path {
        self.texts.folder(value)
    }

    /// Where a value was set.
    pub fn origin(&self, value: &Value) -> Place {
        self.texts.origin(value)
    }

    /// The first place in a file of a value or of what it holds.
    fn first_place(&self, value: &Value) -> Option<Place> {
        let place = self.origin(value);
        match &value.kind {
            _ if matches!(place, Place::File(..)) => Some(place),
            ValueKind::Table(table) => table.values().filter_map(|value| self.first_place(value)).min(),
            ValueKind::Array(items) => items.iter().filter_map(|value| self.first_place(value)).min(),
            _ => None,
        }
    }
}

impl Texts {
    /// All files, FILE first.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|text| match text {
            Text::File(file) => Some(file.as_path()),
            Text::Defaults | Text::Environment(_) => None,
        })
    }

    fn folder(&self, value: &Value) -> &Path {
        let named = value.origin().and_then(|origin| match self.0.get(parse(origin)?.0)? {
            Text::File(file) => Some(file.as_path()),
            Text::Defaults | Text::Environment(_) => None,
        });
        named.or_else(|| self.files().next()).and_then(Path::parent).unwrap_or(Path::new(""))
    }

    fn origin(&self, value: &Value) -> Place {
        let place = value.origin().and_then(|origin| {
            let (text, line, column) = parse(origin)?;
            Some(match self.0.get(text)? {
                Text::Defaults => Place::Default,
                Text::File(file) => Place::File(file.clone(), Some((line, column))),
                Text::Environment(variables) => {
                    Place::Environment(variables.get(line.checked_sub(1)?)?.clone())
                }
            })
        });
        place.unwrap_or(Place::Default)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Pile {
    texts: Texts,
    removed: Vec<Key>,
    syntax: Syntax,
    problems: Vec<Problem>,
}

impl Pile {
    fn file<T: DeserializeOwned>(&mut self, file: &Path) -> Document {
        match read_text(file) {
            Ok(text) => self.document::<T>(Text::File(file.to_owned()), &text),
            Err((why, at)) => {
                self.problems.push(unreadable(Place::File(file.to_owned(), at), &why));
                self.document::<T>(Text::File(file.to_owned()), "");
                self.syntax = Syntax::Broken;
                Document {
                    table: Map::new(),
                    removed: Vec::new(),
                    syntax: Syntax::Broken,
                    problems: Vec::new(),
                }
            }
        }
    }

    fn document<T: DeserializeOwned>(&mut self, source: Text, text: &str) -> Document {
        let number = self.texts.0.len();
        let place = |at| {
            let (line, column) = line_and_column(text, at);
            match &source {
                Text::Defaults => Place::Default,
                Text::File(file) => Place::File(file.clone(), Some((line, column))),
                Text::Environment(variables) => {
                    let variable = variables.get(line.saturating_sub(1));
                    Place::Environment(variable.cloned().unwrap_or_default())
                }
            }
        };
        let origin = |at| {
            let (line, column) = line_and_column(text, at);
            format!("{number}:{line}:{column}")
        };
        let mut document = document::read::<T>(text, place, origin);
        self.problems.append(&mut document.problems);
        if document.syntax == Syntax::Broken {
            self.syntax = Syntax::Broken;
        }
        self.texts.0.push(source);
        document
    }

    fn environment(&mut self, environment: &[(String, String)]) -> Document {
        let mut ours: Vec<_> = environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        let (mut lines, mut variables) = (String::new(), Vec::new());
        for (variable, value) in ours {
            let path = variable.strip_prefix(PREFIX).unwrap_or_default();
            let names: Vec<String> =
                path.split("__").map(|name| name.to_ascii_lowercase().replace('_', "-")).collect();
            let key = Key::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let problem = |why: &str, right: &str| Problem {
                weight: Weight::Error,
                place: Place::Environment(variable.clone()),
                key: key.clone(),
                value: None,
                why: why.to_owned(),
                right: right.to_owned(),
            };
            let bare = |name: &String| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if !names.iter().all(bare) {
                let right = "write SEKISHO__TABLE__KEY with letters, digits and _ for the hyphen";
                self.problems.push(problem("the variable names no key", right));
            } else if key.is_secret() {
                let right = "use …_FILE or …_CREDENTIAL";
                self.problems
                    .push(problem("others can read an environment; no secret may stand in it", right));
            } else {
                lines.push_str(&format!("{} = {}\n", names.join("."), toml_value(value)));
                variables.push(variable.clone());
            }
        }
        self.document::<Root>(Text::Environment(variables), &lines)
    }

    /// The files that an item of `services` names, in the order of their names.
    fn matching(&mut self, pattern: &str, value: &Value) -> Vec<PathBuf> {
        let (path, place) = (self.texts.folder(value).join(pattern), self.texts.origin(value));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((before, after)) = name.split_once('*') else { return vec![path] };
        let folder = path.parent().unwrap_or(Path::new("."));
        let fits = |name: &str| name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after));
        let files = in_folder(folder, fits);
        if let Ok(files) = &files
            && !files.is_empty()
        {
            return files.clone();
        }
        self.problems.push(Problem {
            weight: Weight::Error,
            place,
            key: Key::of(&["services"]),
            value: Some(format!("{pattern:?}")),
            why: files.err().map_or("no file fits".to_owned(), |error| error.to_string()),
            right: "name files with service profiles; the last part of a path may have one *".to_owned(),
        });
        Vec::new()
    }
}

/// The shape of `defaults.toml`: a whole file, and what lies under each client and each service.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its form is checked; the values are read from the layers")]
struct Defaults {
    each_client: super::file::Client,
    each_service: super::file::Service,
    radius: super::file::Radius,
    directory: super::file::Directory,
    state: super::file::State,
    mail: super::file::Mail,
    http: super::file::Http,
    admin: super::file::Admin,
    audit: super::file::Audit,
    log: super::file::Log,
}

/// One layer, as the `config` crate takes it.
#[derive(Clone)]
struct Layer(Map<String, Value>);

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Fills what a table does not say from the defaults.
fn lay_under(value: &mut Value, defaults: &Map<String, Value>) {
    let ValueKind::Table(table) = &mut value.kind else { return };
    for (name, default) in defaults {
        match (table.get_mut(name), &default.kind) {
            (None, _) => {
                table.insert(name.clone(), default.clone());
            }
            (Some(inner), ValueKind::Table(below)) => lay_under(inner, below),
            (Some(_), _) => {}
        }
    }
}

fn take_table(table: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match table.remove(name).map(|value| value.kind) {
        Some(ValueKind::Table(table)) => table,
        _ => Map::new(),
    }
}

fn take_clients(table: &mut Map<String, Value>) -> Vec<Value> {
    match table.get_mut("radius").map(|radius| &mut radius.kind) {
        Some(ValueKind::Table(radius)) => match radius.remove("client").map(|clients| clients.kind) {
            Some(ValueKind::Array(clients)) => clients,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The key as it is when `before` clients of other files stand before those of its own.
fn renumbered(key: &Key, before: usize) -> Key {
    match key.parts() {
        [Part::Name(radius), Part::Name(client), Part::Item(at), rest @ ..]
            if radius == "radius" && client == "client" =>
        {
            let moved = Key::of(&[radius, client]).item(at.saturating_add(before));
            rest.iter().fold(moved, |key, part| match part {
                Part::Name(name) => key.name(name),
                Part::Item(at) => key.item(*at),
            })
        }
        _ => key.clone(),
    }
}

fn patterns(table: &Map<String, Value>) -> Vec<(String, &Value)> {
    match table.get("services").map(|value| (&value.kind, value)) {
        Some((ValueKind::String(pattern), value)) => vec![(pattern.clone(), value)],
        Some((ValueKind::Array(items), _)) => items.iter().map(|item| (item.to_string(), item)).collect(),
        _ => Vec::new(),
    }
}

/// The `conf.d/*.toml` beside a file.
fn drop_ins(file: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    match in_folder(&folder, |name| name.ends_with(".toml") && !name.starts_with('.')) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            problems.push(unreadable(Place::File(folder, None), &error.to_string()));
            Vec::new()
        }
    }
}

fn in_folder(folder: &Path, fits: impl Fn(&str) -> bool) -> std::io::Result<Vec<PathBuf>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&fits) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The text of a file, or why there is none and where.
fn read_text(file: &Path) -> Result<String, (String, Option<(usize, usize)>)> {
    let mut octets = Vec::new();
    let read = std::fs::File::open(file)
        .and_then(|opened| opened.take(TEXT_MAX.saturating_add(1)).read_to_end(&mut octets));
    read.map_err(|error| (error.to_string(), None))?;
    if u64::try_from(octets.len()).unwrap_or(u64::MAX) > TEXT_MAX {
        return Err(("it is larger than 4 MiB".to_owned(), None));
    }
    String::from_utf8(octets).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        ("it is not UTF-8".to_owned(), Some(line_and_column(&before, valid)))
    })
}

fn unreadable(place: Place, why: &str) -> Problem {
    Problem {
        weight: Weight::Error,
        place,
        key: Key::default(),
        value: None,
        why: format!("cannot be read: {why}"),
        right: "name a TOML file that the service may read".to_owned(),
    }
}

/// A variable's value: TOML if it is that, a text otherwise.
fn toml_value(value: &str) -> String {
    let alone = |table: toml::Table| table.len() == 1;
    let is_toml = !value.contains('\n') && toml::from_str(&format!("v = {value}")).is_ok_and(alone);
    if is_toml { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

fn parse(origin: &str) -> Option<(usize, usize, usize)> {
    let mut numbers = origin.split(':').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}
