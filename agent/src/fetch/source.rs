//! Where a file comes from, and under which name it goes into the sandbox.

use std::path::{Component, Path, PathBuf};

use regency_wire::v1::command_info::Uri;

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A web server.
    Web(reqwest::Url),
    /// This machine.
    File(PathBuf),
}

/// A file to bring.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) uri: Uri,
    pub(super) source: Source,
    /// Below the sandbox, without `..`.
    pub(super) name: PathBuf,
}

impl Wanted {
    /// Reads a URI of a task; relative ones are below `home`.
    ///
    /// # Errors
    /// Why it cannot be fetched.
    pub(super) fn read(uri: &Uri, home: Option<&Path>) -> anyhow::Result<Self> {
        let source = source(uri.value.trim(), home)?;
        let name = match uri.output_file.as_deref() {
            Some(name) => beneath(Path::new(name))
                .filter(|name| !name.as_os_str().is_empty())
                .ok_or_else(|| anyhow::anyhow!("its output_file '{name}' leaves the sandbox"))?,
            None => own_name(&source)
                .ok_or_else(|| anyhow::anyhow!("it names no file; give an output_file"))?,
        };
        Ok(Self {
            uri: uri.clone(),
            source,
            name,
        })
    }
}

fn source(value: &str, home: Option<&Path>) -> anyhow::Result<Source> {
    if let Some(path) = value.strip_prefix("file://") {
        let path = path.strip_prefix("localhost").unwrap_or(path);
        anyhow::ensure!(path.starts_with('/'), "its path is not absolute");
        return Ok(Source::File(path.into()));
    }
    if let Some((scheme, _)) = value.split_once("://") {
        anyhow::ensure!(
            ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()),
            "'{scheme}' cannot be fetched; http, https and file can"
        );
        return Ok(Source::Web(value.parse()?));
    }
    if value.starts_with('/') {
        return Ok(Source::File(value.into()));
    }
    anyhow::ensure!(!value.is_empty(), "it is empty");
    match home {
        Some(home) => Ok(Source::File(home.join(value))),
        None => anyhow::bail!("its path is relative, and the agent has no --frameworks-home"),
    }
}

/// The last part of the path, without a query.
fn own_name(source: &Source) -> Option<PathBuf> {
    let name = match source {
        Source::Web(url) => url.path_segments()?.next_back()?.to_owned(),
        Source::File(path) => path.file_name()?.to_str()?.to_owned(),
    };
    let name = beneath(Path::new(&name))?;
    (!name.as_os_str().is_empty()).then_some(name)
}

/// `path` as it is below some directory: without a leading `/` or `.`; `None` when it has `..`.
pub(super) fn beneath(path: &Path) -> Option<PathBuf> {
    let mut kept = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => kept.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(value: &str, output_file: Option<&str>) -> Result<String, String> {
        let uri = Uri {
            value: value.to_owned(),
            output_file: output_file.map(str::to_owned),
            ..Uri::default()
        };
        let wanted = Wanted::read(&uri, Some(Path::new("/home/of/frameworks")));
        let wanted = wanted.map_err(|error| format!("{error:#}"))?;
        let source = match wanted.source {
            Source::Web(url) => url.to_string(),
            Source::File(path) => path.display().to_string(),
        };
        Ok(format!("{source} {}", wanted.name.display()))
    }

    #[test]
    fn sources_have_names() {
        for (value, output, expect) in [
            (
                "http://h:1/a/b.tgz?x=/y#z",
                None,
                "http://h:1/a/b.tgz?x=/y#z b.tgz",
            ),
            ("https://h/", Some("d/f"), "https://h/ d/f"),
            ("file:///a/b", None, "/a/b b"),
            ("file://localhost/a/b", None, "/a/b b"),
            (" /a/b ", Some("./c"), "/a/b c"),
            ("x/y.sh", None, "/home/of/frameworks/x/y.sh y.sh"),
        ] {
            assert_eq!(wanted(value, output).as_deref(), Ok(expect), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_says_why() {
        for (value, output, part) in [
            ("hdfs://h/x", None, "'hdfs'"),
            ("ftp://h/x", None, "'ftp'"),
            ("http://h/", None, "output_file"),
            ("http://h/a/..", None, "output_file"),
            ("http://", None, "host"),
            ("file://a/b", None, "absolute"),
            ("", None, "empty"),
            ("/a", Some("../b"), "leaves"),
            ("/a", Some("c/../../b"), "leaves"),
            ("/a", Some("."), "leaves"),
        ] {
            let error = wanted(value, output).expect_err(value);
            assert!(error.contains(part), "{value}: {error}");
        }
        let uri = Uri {
            value: "x".to_owned(),
            ..Uri::default()
        };
        let error = Wanted::read(&uri, None).expect_err("no home").to_string();
        assert!(error.contains("--frameworks-home"), "{error}");
    }
}
