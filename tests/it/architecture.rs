//! The arrows between modules, and a few other habits, kept by reading our own source.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

/// Most lines of a file.
const MAX_LINES: usize = 320;

/// Every module of the crate and its layer. A module uses its own layer and those below it.
const LAYERS: [(&str, u8); 20] = [
    ("domain", 0),
    ("access", 1),
    ("links", 1),
    ("telemetry", 1),
    ("config", 2),
    ("queue", 2),
    ("store", 2),
    ("testing", 2),
    ("checkpoint", 3),
    ("export", 3),
    ("feed", 3),
    ("journal", 3),
    ("onboarding", 3),
    ("verify", 3),
    ("host", 4),
    ("http", 4),
    ("dev", 5),
    ("cli", 6),
    ("lib", 7),
    ("main", 7),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, named from the root, with their text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                if entry.file_name() != "node_modules" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no source");
    found
}

/// The text without its comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// `src/store/mod.rs` is in `store`, `src/links.rs` is `links`.
fn module_of(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The modules that a file names behind `crate::`, with braces opened; macros are not modules.
fn uses(text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(members(group));
        } else {
            let name = word(rest);
            if !rest[name.len()..].starts_with('!') {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// The first word of each member of a group in braces.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut found, mut member) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(std::mem::take(&mut member)),
            other if depth == 0 => member.push(other),
            _ => {}
        }
    }
    found.push(member);
    found.iter().map(|member| word(member.trim()).to_owned()).filter(|member| !member.is_empty()).collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn dependencies_point_one_way() {
    let layers = BTreeMap::from(LAYERS);
    let layer = |module: &str| {
        *layers.get(module).unwrap_or_else(|| {
            panic!("the module `{module}` has no layer yet: add it here and to docs/ARCHITECTURE.md")
        })
    };
    let mut arrows = 0;
    // Tests of a module may look further up.
    let tests = |file: &str| file.ends_with("/tests.rs") || file.contains("/tests/");
    for (file, text) in sources("src").into_iter().filter(|(file, _)| !tests(file)) {
        let from = module_of(&file);
        for to in uses(&text) {
            assert!(layer(from) >= layer(&to), "{file} uses `{to}`, which lies above `{from}`");
            arrows += 1;
        }
    }
    assert!(arrows > 100, "only {arrows} arrows were found: the scan is broken");
}

#[test]
fn the_domain_is_pure() {
    const FOREIGN: [&str; 9] =
        ["azure_", "axum", "reqwest", "tokio", "redb", "tracing", "anyhow", "std::fs", "std::net"];
    for (file, text) in sources("src/domain") {
        for name in FOREIGN {
            assert!(!code(&text).contains(name), "{file} names {name}");
        }
    }
}

#[test]
fn the_clock_is_asked_in_one_place() {
    for (file, text) in sources("src") {
        let asks =
            ["SystemTime::now", "now_utc(", "now_local("].iter().any(|call| code(&text).contains(call));
        // The Azure driver compares with other people's clocks: a token's end, a reply's `Date`.
        let may = ["src/domain/timestamp.rs", "src/store/azure/", "src/testing/"];
        let may = may.iter().any(|place| file.starts_with(place));
        assert!(may || !asks, "{file} asks the clock itself");
    }
}

/// `annals dev` plays the host: what it knows of the handler is what the wire says.
#[test]
fn annals_dev_knows_the_handler_through_the_wire_alone() {
    for (file, text) in sources("src/dev") {
        for module in uses(&text) {
            let wire = ["config", "dev", "domain", "queue", "telemetry"].contains(&module.as_str());
            assert!(wire, "{file} uses `{module}`");
        }
    }
}

#[test]
fn the_azure_crates_are_named_by_the_azure_drivers_alone() {
    for (file, text) in sources("src") {
        let driver = file.starts_with("src/store/azure/") || file == "src/queue/azure.rs";
        let names = ["azure_core", "azure_data_tables", "azure_storage"];
        let named = names.iter().any(|name| code(&text).contains(&format!("{name}::")));
        assert!(driver || !named, "{file} names an Azure crate");
    }
}

#[test]
fn without_the_feature_no_azure_crate_is_built() {
    let tree = |more: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"]);
        let output = cargo.args(more).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(tree(&[]).contains("azure_data_tables "), "the default build has the Azure drivers");
    let bare = tree(&["--no-default-features"]);
    assert!(bare.contains("redb "), "{bare}");
    assert!(!bare.contains("azure_"), "{bare}");
}

#[test]
fn files_stay_small() {
    for (file, text) in sources("src").into_iter().chain(sources("tests/it")) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines: split it by what it is responsible for");
    }
}

/// Keys of stored rows stand in other people's storage: what a golden file said once stays.
#[test]
fn golden_files_only_grow() {
    const PINNED: [(&str, usize, &str); 1] =
        [("keys.txt", 15, "1b680c9001bed99702209cad21d83d908cd0f4d5ada8c134de9bfd1440995213")];
    let files = fs::read_dir(root().join("tests/golden")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let pinned: Vec<_> = PINNED.iter().map(|(name, ..)| (*name).to_owned()).collect();
    for name in &pinned {
        assert!(names.contains(name), "{name} is gone");
    }
    for (name, lines, digest) in PINNED {
        let text = fs::read_to_string(root().join("tests/golden").join(name)).unwrap();
        let first: String = text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
        assert_eq!(hex::encode(Sha256::digest(first)), digest, "a line of {name} was changed");
    }
    let used: String = sources("src").into_values().chain(sources("tests/it").into_values()).collect();
    for name in names {
        assert!(used.contains(&format!("golden/{name}")), "no test reads tests/golden/{name}");
    }
}

/// The walkthroughs name a file and then its functions: `src/a.rs`: `one`, `two`.
#[test]
fn the_walkthroughs_name_functions_that_exist() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let walkthroughs = text.split_once("## Walkthroughs").expect("a chapter of walkthroughs").1;
    let (mut file, mut checked) = (None, 0);
    for quoted in walkthroughs.split('`').skip(1).step_by(2) {
        if quoted.ends_with(".rs") {
            let path = root().join(quoted);
            file = Some((quoted, fs::read_to_string(&path).unwrap_or_else(|_| panic!("{quoted} is gone"))));
        } else if quoted.ends_with("()") {
            let (path, source) = file.as_ref().expect("a file is named before its functions");
            let name = quoted.trim_end_matches("()").rsplit("::").next().unwrap();
            assert!(source.contains(&format!("fn {name}")), "{path} has no function {name}");
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} functions are named");
}
