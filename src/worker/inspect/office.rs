//! Which format a zip file is, by what it holds: Office Open XML, OpenDocument, EPUB, Java, Android, or just a zip.
//!
//! The main part's content type decides (ECMA-376 part 2; OpenDocument 1.3 part 2 section 3.3), not a name that anybody
//! can give a file. Macros are found by their parts and by the content types that announce them.

use super::concern::Concern;

/// Most bytes of a part that are kept.
pub(super) const MAX_PART: usize = 1 << 20;

const CONTENT_TYPES: &str = "[content_types].xml";

/// Whether a part's content is needed.
pub(super) fn wanted(name: &str) -> bool {
    name.eq_ignore_ascii_case(CONTENT_TYPES) || matches!(name, "mimetype" | "META-INF/manifest.xml")
}

/// What the names and the few kept parts say.
#[derive(Debug, Default)]
pub(super) struct Parts {
    office: bool,
    main: Option<&'static str>,
    mimetype: Option<String>,
    macros: bool,
    encrypted: bool,
    java: bool,
    android: bool,
}

impl Parts {
    /// Takes notice of an entry's name.
    pub(super) fn name(&mut self, name: &str) {
        let lower = name.to_ascii_lowercase();
        self.office |= lower == CONTENT_TYPES;
        self.macros |= lower.ends_with("vbaproject.bin") || lower.contains("/macrosheets/");
        // OpenDocument keeps its macros in these.
        self.macros |= lower.starts_with("basic/") || lower.starts_with("scripts/");
        self.java |= lower == "meta-inf/manifest.mf" || lower.ends_with(".class");
        self.android |= lower == "androidmanifest.xml";
    }

    /// Takes notice of a part that was [`wanted`].
    pub(super) fn part(&mut self, name: &str, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        match name {
            "mimetype" => self.mimetype = Some(text.trim().to_ascii_lowercase()),
            "META-INF/manifest.xml" => self.encrypted |= text.contains("encryption-data"),
            _ => {
                let text = text.to_ascii_lowercase();
                self.macros |= text.contains("macroenabled") || text.contains("vnd.ms-office.vbaproject");
                self.main = MAIN.iter().find(|(main, _)| text.contains(main)).map(|(_, media)| *media);
            }
        }
    }

    /// The format in canonical spelling, and what is wrong with it.
    pub(super) fn judge(self) -> (&'static str, Vec<Concern>) {
        let by_mimetype = self.mimetype.as_deref().and_then(|text| MIMETYPES.iter().find(|known| **known == text));
        let document = self.main.filter(|_| self.office).or(by_mimetype.copied());
        let detected = document.unwrap_or(match () {
            () if self.android => "application/vnd.android.package-archive",
            () if self.java => "application/java-archive",
            () => "application/zip",
        });
        let mut concerns = Vec::new();
        // A folder called Scripts in an ordinary zip is nobody's macro.
        if self.macros && document.is_some() {
            concerns.push(Concern::Active("The document holds macros.".to_owned()));
        }
        if self.encrypted && by_mimetype.is_some() {
            concerns.push(Concern::Encrypted("The document is protected by a password.".to_owned()));
        }
        (detected, concerns)
    }
}

const MIMETYPES: &[&str] = &[
    "application/epub+zip",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
];

/// Content type of the main part, lower case, and the type of the file.
const MAIN: &[(&str, &str)] = &[
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ),
    ("application/vnd.ms-word.document.macroenabled.main+xml", "application/vnd.ms-word.document.macroenabled.12"),
    (
        "application/vnd.ms-word.template.macroenabledtemplate.main+xml",
        "application/vnd.ms-word.template.macroenabled.12",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template.main+xml",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    ),
    ("application/vnd.ms-excel.sheet.macroenabled.main+xml", "application/vnd.ms-excel.sheet.macroenabled.12"),
    ("application/vnd.ms-excel.template.macroenabled.main+xml", "application/vnd.ms-excel.template.macroenabled.12"),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
    ),
    (
        "application/vnd.ms-powerpoint.presentation.macroenabled.main+xml",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(parts: &[(&str, &str)]) -> (&'static str, Vec<Concern>) {
        let mut found = Parts::default();
        for (name, content) in parts {
            found.name(name);
            if wanted(name) {
                found.part(name, content.as_bytes());
            }
        }
        found.judge()
    }

    const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

    #[test]
    fn the_main_part_tells_the_format() {
        let sheet = format!("<Override ContentType=\"{SHEET}\"/>");
        let (detected, concerns) = verdict(&[("[Content_Types].xml", &sheet), ("xl/workbook.xml", "")]);
        assert_eq!(detected, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
        assert_eq!(concerns, []);
        assert_eq!(verdict(&[("mimetype", "application/vnd.oasis.opendocument.text\n")]).0, MIMETYPES[3]);
        assert_eq!(verdict(&[("META-INF/MANIFEST.MF", ""), ("A.class", "")]).0, "application/java-archive");
        assert_eq!(verdict(&[("scripts/build.sh", "")]), ("application/zip", vec![]));
    }

    #[test]
    fn macros_and_passwords_are_seen() {
        let sheet = format!("<Override ContentType=\"{SHEET}\"/>");
        for part in ["xl/vbaProject.bin", "xl/macrosheets/sheet1.xml"] {
            let (_, concerns) = verdict(&[("[Content_Types].xml", &sheet), (part, "")]);
            assert!(matches!(concerns.as_slice(), [Concern::Active(_)]), "{part}");
        }
        let (detected, concerns) =
            verdict(&[("[Content_Types].xml", "application/vnd.ms-excel.sheet.macroEnabled.main+xml")]);
        assert_eq!(detected, "application/vnd.ms-excel.sheet.macroenabled.12");
        assert!(matches!(concerns.as_slice(), [Concern::Active(_)]));
        let (_, concerns) = verdict(&[
            ("mimetype", "application/vnd.oasis.opendocument.text"),
            ("META-INF/manifest.xml", "<manifest:encryption-data/>"),
        ]);
        assert!(matches!(concerns.as_slice(), [Concern::Encrypted(_)]));
    }
}
