//! The variables that settings are read from: the process's, and below them those of a `.env` file, as
//! Bklit's services read them.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bklit_wire::diagnostic::Diagnostic;

/// The file read from the working directory.
const FILE: &str = ".env";

/// Variables that their `DEV_` counterparts replace under `NODE_ENV=development`, so that a developer's
/// machine does not write to production.
const DEVELOPMENT: &[(&str, &str)] = &[
    ("DATABASE_URL", "DEV_DATABASE_URL"),
    ("CLICKHOUSE_HOST", "DEV_CLICKHOUSE_HOST"),
    ("CLICKHOUSE_USERNAME", "DEV_CLICKHOUSE_USERNAME"),
    ("CLICKHOUSE_PASSWORD", "DEV_CLICKHOUSE_PASSWORD"),
];

/// A variable's value, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Never empty; without surrounding white space and quotes.
    pub value: String,
    /// Its source, for messages.
    pub source: String,
}

/// The variables of the process and of a file.
#[derive(Debug, Default)]
pub struct Environment {
    process: HashMap<String, String>,
    file: Option<(PathBuf, HashMap<String, String>)>,
    unreadable: Vec<Diagnostic>,
}

impl Environment {
    /// Variables of the process; none of a file.
    pub fn new(process: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { process: process.into_iter().collect(), ..Self::default() }
    }

    /// The variables of this process, and those of `.env` in its working directory, if there is one.
    pub fn of_process() -> Self {
        // Values that are not UTF-8 are not settings.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let process = Self::new(std::env::vars_os().filter_map(text));
        match std::env::current_dir() {
            Ok(dir) => process.with_file(&dir.join(FILE)),
            Err(_) => process,
        }
    }

    /// Adds the variables of a file, if it exists. `$NAME` is replaced as by Prisma and Next.js, except in
    /// single quotes.
    #[must_use]
    pub fn with_file(mut self, path: &Path) -> Self {
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(error) => {
                if !error.not_found() {
                    self.unreadable.push(unreadable(path, &error.to_string()));
                }
                return self;
            }
        };
        let mut values = HashMap::new();
        for line in lines {
            match line {
                Ok((name, value)) => {
                    values.insert(name, value);
                }
                // The error quotes the line, which may contain a password.
                Err(dotenvy::Error::LineParse(wrong, _)) => {
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    let line = text.lines().position(|line| line.trim() == wrong.trim());
                    let line =
                        line.map_or("a line".to_owned(), |line| format!("line {}", line + 1));
                    let problem = format!("{line} is not of the form NAME=value");
                    self.unreadable.push(unreadable(path, &problem));
                }
                Err(error) => {
                    self.unreadable.push(unreadable(path, &error.to_string()));
                    return self;
                }
            }
        }
        self.file = Some((path.to_owned(), values));
        self
    }

    /// A variable, or under `NODE_ENV=development` its counterpart for development, if that is set.
    pub fn get(&self, name: &str) -> Option<Variable> {
        let counterpart = DEVELOPMENT.iter().find(|(production, _)| *production == name);
        counterpart
            .filter(|_| self.is_development())
            .and_then(|(_, development)| self.lookup(development))
            .or_else(|| self.lookup(name))
    }

    /// Whether Bklit's services would run in development mode.
    pub fn is_development(&self) -> bool {
        self.lookup("NODE_ENV").is_some_and(|variable| variable.value == "development")
    }

    /// What to report about the file: which variables among `names` it sets, and what is wrong with it.
    pub(super) fn report<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Diagnostic> {
        let mut report = self.unreadable.clone();
        if let Some((path, values)) = &self.file {
            let used =
                |name: &&str| !self.process.contains_key(*name) && values.contains_key(*name);
            let mut used: Vec<_> = names.into_iter().filter(used).collect();
            used.dedup();
            let is_secret = |name: &&str| {
                let value = values.get(*name).map_or("", String::as_str);
                name.ends_with("PASSWORD") || has_password(value)
            };
            if used.iter().any(is_secret) {
                report.extend(exposed(path));
            }
            let used = if used.is_empty() { "no settings".to_owned() } else { used.join(", ") };
            report.push(Diagnostic::good(format!("read {used} from {}", path.display())));
        }
        report
    }

    fn lookup(&self, name: &str) -> Option<Variable> {
        if let Some(value) = self.process.get(name) {
            let value = cleaned(value)?;
            return Some(Variable { value, source: format!("the environment variable {name}") });
        }
        let (path, values) = self.file.as_ref()?;
        let value = cleaned(values.get(name)?)?;
        Some(Variable { value, source: format!("{name} in {}", path.display()) })
    }
}

/// The names of the variables that replace others in development.
pub(super) fn development_names() -> impl Iterator<Item = &'static str> {
    DEVELOPMENT.iter().map(|(_, name)| *name)
}

/// A value without what Docker's `env_file` and files with Windows line ends leave around it: white space,
/// carriage returns and a pair of quotes. `None` if nothing remains.
fn cleaned(value: &str) -> Option<String> {
    let value = value.trim();
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote).map(str::trim));
    let value = unquoted.unwrap_or(value);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether a value is a URL with a password.
pub(super) fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let login = rest.split_once('@').map(|(login, _)| login);
    let in_login =
        login.and_then(|login| login.split_once(':')).is_some_and(|(_, p)| !p.is_empty());
    // Where the URLs of sockets and Sentinels have one.
    let mut parameters = rest.split(['?', '&']).skip(1).filter_map(|pair| pair.split_once('='));
    let is_password = |name: &str| name.ends_with("pass") || name.ends_with("password");
    in_login || parameters.any(|(name, value)| is_password(name) && !value.is_empty())
}

/// A warning if other users can read a file with a password.
pub(super) fn exposed(path: &Path) -> Option<Diagnostic> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Diagnostic::warning(
            format!(
                "{} contains a password, and other users can access it (mode {mode:o})",
                path.display()
            ),
            format!("chmod 600 {}", path.display()),
        )
    })
}

fn unreadable(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::warning(
        format!("cannot read all of {}: {why}", path.display()),
        "write one NAME=value on each line; put values with spaces, # or $ in single quotes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(process: &[(&str, &str)]) -> Environment {
        Environment::new(process.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn a_line_that_is_not_a_variable_is_named_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, "# a comment\nA=1\n\n  hunter2 x\nB=2\n").unwrap();
        let environment = environment(&[]).with_file(&file);
        assert_eq!(environment.get("B").unwrap().value, "2");
        let report = environment.report(["A"]);
        let problem = &report[0].what;
        assert!(problem.contains("line 4 is not of the form NAME=value"), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }

    #[test]
    fn white_space_and_quotes_around_a_value_are_removed() {
        for (value, expected) in [
            ("redis://r\r", Some("redis://r")),
            ("  'redis://r' ", Some("redis://r")),
            ("\"redis://r\"\r\n", Some("redis://r")),
            ("it's", Some("it's")),
            ("\"", Some("\"")),
            (" \r", None),
            ("''", None),
        ] {
            let found = environment(&[("X", value)]).get("X");
            assert_eq!(found.map(|variable| variable.value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn development_variables_count_only_in_development() {
        let both = [("DATABASE_URL", "production"), ("DEV_DATABASE_URL", "development")];
        let url = |mode: &str| {
            let found = environment(&[&both[..], &[("NODE_ENV", mode)]].concat());
            found.get("DATABASE_URL").unwrap()
        };
        assert_eq!(url("production").value, "production");
        assert_eq!(url("development").value, "development");
        assert!(url("development").source.contains("DEV_DATABASE_URL"));
        let one = environment(&[("NODE_ENV", "development"), both[0]]);
        assert_eq!(one.get("DATABASE_URL").unwrap().value, "production");
    }

    #[test]
    fn a_file_does_not_override_the_process_and_what_is_wrong_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let text = "# servers\r\nREDIS_URL=\"redis://file\"\r\nexport A='p$q#r'\r\nhush hush\nB=file # x\n";
        std::fs::write(&path, text).unwrap();
        let found = environment(&[("B", "process")]).with_file(&path);
        assert_eq!(found.get("REDIS_URL").unwrap().value, "redis://file");
        assert!(found.get("REDIS_URL").unwrap().source.contains(".env"));
        assert_eq!(found.get("A").unwrap().value, "p$q#r");
        assert_eq!(found.get("B").unwrap().value, "process");
        // Without a password in it, others may read the file.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let report = found.report(["REDIS_URL", "B", "C"]);
        assert!(
            report[0].what.contains("NAME=value") && !report[0].what.contains("hush"),
            "{report:?}"
        );
        assert!(report[1].what.starts_with("read REDIS_URL from "), "{report:?}");
        std::fs::write(&path, "DATABASE_URL=postgres://me:hush@p/b").unwrap();
        let report = environment(&[]).with_file(&path).report(["DATABASE_URL"]);
        assert!(report[0].what.contains("mode 644") && report[0].advice.starts_with("chmod 600"));
        for (url, expected) in [
            ("redis+sentinel://a,b/main?sentinel_pass=hush", true),
            ("redis+cluster://:hush@a,b", true),
            ("unix:///run/r.sock?pass=hush", true),
            ("unix:///run/pass=x?db=2&pass=", false),
            ("redis://me:@r", false),
        ] {
            assert_eq!(has_password(url), expected, "{url}");
        }
        let none = environment(&[]).with_file(&dir.path().join("none"));
        assert!(none.report([]).is_empty());
        let unreadable = environment(&[]).with_file(dir.path());
        assert_eq!(unreadable.report([]).len(), 1);
    }
}
