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
    /// Changes with the content.
    pub(crate) etag: String,
}

/// All files.
#[derive(Clone, Debug)]
pub(crate) struct Files(Vec<File>);

impl Files {
    /// Compresses the files.
    /// Where the home's topics are not the defaults, the page learns of them from its first file.
    pub(crate) fn new(topics: &[(&'static str, String)]) -> Self {
        let file = |(path, content): &(&'static str, &'static [u8])| {
            let told =
                (*path == "/index.html" && !topics.is_empty()).then(|| tell(content, topics));
            File::new(path, told.unwrap_or(Bytes::from_static(content)))
        };
        Self(EMBEDDED.iter().map(file).collect())
    }

    /// Returns the file at a path of a URL.
    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        let path = if path == "/" { "/index.html" } else { path };
        self.0.iter().find(|file| file.path == path)
    }
}

impl File {
    fn new(path: &'static str, content: Bytes) -> Self {
        let compressed = compress(&content).filter(|it| it.len() < content.len());
        let digest = ring::digest::digest(&ring::digest::SHA256, &content);
        let hex: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let media_type = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("mjs") => "text/javascript; charset=utf-8",
            Some("webmanifest") => "application/manifest+json",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        Self { path, media_type, content, compressed, etag: format!("\"{hex}\"") }
    }
}

/// Puts the topics into the head of the page, as JSON.
fn tell(page: &[u8], topics: &[(&'static str, String)]) -> Bytes {
    let json: Vec<_> =
        topics.iter().map(|(key, topic)| format!("{key:?}:{}", quoted(topic))).collect();
    let json = format!("{{{}}}", json.join(","));
    let content = json.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let page = String::from_utf8_lossy(page);
    page.replacen("</head>", &format!("<meta name=\"topics\" content=\"{content}\">\n</head>"), 1)
        .into()
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
        let sizes: Vec<_> = files.0.iter().map(|file| (file.path, weight(file))).collect();
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
    fn nothing_of_the_page_comes_from_elsewhere() {
        for file in Files::new(&[]).0 {
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
