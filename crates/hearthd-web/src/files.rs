//! The page's files, embedded, and compressed once when the program starts.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A file of the page.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: Bytes,
    /// The content in gzip; `None` if that is not shorter.
    pub(crate) compressed: Option<Bytes>,
}

/// All files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    all: Vec<File>,
    /// Changes when any file changes. It is the entity tag of each file, so that a browser never mixes two versions, and an open page
    /// learns of a new version from any of them.
    pub(crate) etag: String,
}

impl Files {
    /// Compresses the files.
    ///
    /// The first file tells the page its version, and the home's topics where they are not the defaults.
    pub(crate) fn new(topics: &[(&'static str, String)]) -> Self {
        Self::of(EMBEDDED, topics)
    }

    fn of(embedded: &[(&'static str, &'static [u8])], topics: &[(&'static str, String)]) -> Self {
        let version = version(embedded, topics);
        let file = |(path, content): &(&'static str, &'static [u8])| {
            let told = (*path == "/index.html").then(|| tell(content, &version, topics));
            File::new(path, told.unwrap_or(Bytes::from_static(content)))
        };
        Self { all: embedded.iter().map(file).collect(), etag: format!("\"{version}\"") }
    }

    /// Returns the file at a path of a URL.
    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        let path = if path == "/" { "/index.html" } else { path };
        self.all.iter().find(|file| file.path == path)
    }
}

impl File {
    fn new(path: &'static str, content: Bytes) -> Self {
        let compressed = compress(&content).filter(|it| it.len() < content.len());
        let media_type = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("mjs") => "text/javascript; charset=utf-8",
            Some("webmanifest") => "application/manifest+json",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        Self { path, media_type, content, compressed }
    }
}

/// Returns a text that changes with each file and each topic.
fn version(
    embedded: &[(&'static str, &'static [u8])],
    topics: &[(&'static str, String)],
) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let files = embedded.iter().map(|(path, content)| (*path, *content));
    for (name, content) in files.chain(topics.iter().map(|(key, topic)| (*key, topic.as_bytes()))) {
        for part in [name.as_bytes(), content] {
            // With the length, no two lists of parts are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts the version into the head of the page, and the topics as JSON.
fn tell(page: &[u8], version: &str, topics: &[(&'static str, String)]) -> Bytes {
    let mut told = format!("<meta name=\"version\" content=\"{version}\">\n");
    if !topics.is_empty() {
        let json: Vec<_> =
            topics.iter().map(|(key, topic)| format!("{key:?}:{}", quoted(topic))).collect();
        let json = format!("{{{}}}", json.join(","));
        let content = json.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        told += &format!("<meta name=\"topics\" content=\"{content}\">\n");
    }
    String::from_utf8_lossy(page).replacen("</head>", &format!("{told}</head>"), 1).into()
}

/// Writes a text in JSON (RFC 8259, 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn compress(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    encoder.finish().ok().map(|mut compressed| {
        compressed.shrink_to_fit();
        compressed.into()
    })
}

macro_rules! embed {
    ($($name:literal),*) => {
        &[$((concat!("/", $name), include_bytes!(concat!("../page/", $name)))),*]
    };
}

const EMBEDDED: &[(&str, &[u8])] = embed![
    "index.html",
    "style.css",
    "app.mjs",
    "connection.mjs",
    "controls.mjs",
    "faces.mjs",
    "home.mjs",
    "login.mjs",
    "mqtt.mjs",
    "topics.mjs",
    "view.mjs",
    "words.mjs",
    "manifest.webmanifest",
    "icon.svg",
    "icon-192.png",
    "icon-512.png"
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What a phone fetches altogether.
    const MOST: usize = 40_000;

    #[test]
    fn the_page_weighs_less_than_forty_kilobytes() {
        let files = Files::new(&[]);
        let weight = |file: &File| file.compressed.as_ref().map_or(file.content.len(), Bytes::len);
        let sizes: Vec<_> = files.all.iter().map(|file| (file.path, weight(file))).collect();
        let total: usize = sizes.iter().map(|(_, size)| size).sum();
        println!("{total} bytes: {sizes:?}");
        assert!(total < MOST, "{total} bytes: {sizes:?}");
    }

    #[test]
    fn every_file_of_the_folder_is_embedded_and_has_a_type() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let files = Files::new(&[]);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = format!("/{}", entry.unwrap().file_name().display());
            let file = files.find(&path).unwrap_or_else(|| panic!("{path} is not embedded"));
            assert_ne!(file.media_type, "application/octet-stream", "{path}");
        }
    }

    #[test]
    fn the_page_learns_topics_that_differ_as_json_in_an_attribute() {
        let topics = [("event", "{prefix}/\"<&/{device}".to_owned())];
        let page = Files::new(&topics).find("/").unwrap().content.clone();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let meta = "<meta name=\"topics\" content=\"{&quot;event&quot;:&quot;{prefix}/\\&quot;&lt;&amp;/{device}&quot;}\">";
        assert!(page.contains(meta), "{page}");
        assert!(
            !String::from_utf8_lossy(&Files::new(&[]).find("/").unwrap().content)
                .contains("name=\"topics")
        );
    }

    #[test]
    fn the_version_changes_with_each_file_and_with_the_topics_and_the_page_knows_its_own() {
        let version = |files: &Files| files.etag.trim_matches('"').to_owned();
        let now = Files::new(&[]);
        let page = String::from_utf8_lossy(&now.find("/").unwrap().content).into_owned();
        let meta = format!("<meta name=\"version\" content=\"{}\">", version(&now));
        assert!(page.contains(&meta), "{page}");
        for changed in 0..EMBEDDED.len() {
            let mut files = EMBEDDED.to_vec();
            files[changed].1 = b"another";
            assert_ne!(version(&Files::of(&files, &[])), version(&now), "{}", files[changed].0);
        }
        let topics = [("event", "{prefix}/happens/{device}".to_owned())];
        assert_ne!(version(&Files::new(&topics)), version(&now));
        assert_eq!(version(&Files::new(&[])), version(&now));
    }

    #[test]
    fn nothing_of_the_page_comes_from_elsewhere() {
        for file in Files::new(&[]).all {
            let Ok(text) = std::str::from_utf8(&file.content) else { continue };
            for (start, _) in text.match_indices("://") {
                let before = text[..start].rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
                let after = &text[start + 3..text.len().min(start + 14)];
                // The namespace of SVG is a name, and the socket's scheme gets the page's own host.
                let is_own = after.starts_with("www.w3.org") || after.starts_with("${");
                assert!(is_own, "{}: {before:?}://{after}", file.path);
            }
        }
    }
}
