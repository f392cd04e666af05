//! The package, unpacked and started as the host does it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use xtask::{Package, zip::ZipArchive};

fn package() -> Package {
    let handler = fs::read(env!("CARGO_BIN_EXE_annals")).unwrap();
    Package::assemble(Path::new(env!("CARGO_MANIFEST_DIR")), handler).unwrap()
}

fn zipped(package: &Package) -> Vec<u8> {
    let mut zip = Cursor::new(Vec::new());
    package.write_zip(&mut zip).unwrap();
    zip.into_inner()
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let first = zipped(&package());
    std::thread::sleep(Duration::from_secs(2));
    assert!(first == zipped(&package()), "two packages of the same files differ");
}

#[test]
fn the_package_holds_what_the_host_reads_and_nothing_else() {
    let mut expected = vec!["handler".to_owned(), "host.json".to_owned()];
    let functions = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("function-definitions")).unwrap();
    expected.extend(
        functions.map(|entry| format!("{}/function.json", entry.unwrap().file_name().to_str().unwrap())),
    );
    expected.sort();
    assert_eq!(package().paths().collect::<Vec<_>>(), expected);
}

#[test]
fn an_old_package_leaves_nothing_behind_but_local_settings() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("gone")).unwrap();
    for name in ["gone/function.json", "old", "local.settings.json"] {
        fs::write(folder.path().join(name), "{}").unwrap();
    }
    package().write_folder(folder.path()).unwrap();
    assert!(!folder.path().join("gone").exists() && !folder.path().join("old").exists());
    assert!(folder.path().join("local.settings.json").is_file() && folder.path().join("host.json").is_file());
}

/// Unpacks as the platform does, with the modes in the zip.
fn unpack(zip: Vec<u8>, folder: &Path) -> BTreeMap<String, u32> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut modes = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let (name, mode) = (entry.name().unwrap().into_owned(), entry.unix_mode().unwrap());
        let file = folder.join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode & 0o777)).unwrap();
        modes.insert(name, mode & 0o777);
    }
    modes
}

/// Ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn unpacked_it_starts_as_the_host_starts_it() {
    let (app, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let modes = unpack(zipped(&package()), app.path());
    assert_eq!(modes["handler"], 0o755);
    assert!(modes.iter().all(|(name, mode)| name == "handler" || *mode == 0o644), "{modes:?}");
    let host: serde_json::Value =
        serde_json::from_slice(&fs::read(app.path().join("host.json")).unwrap()).unwrap();
    let executable = host["customHandler"]["description"]["defaultExecutablePath"].as_str().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // No argument; the folder of host.json; the settings of the app and three of the host's own.
    let child = Command::new(app.path().join(executable))
        .current_dir(app.path())
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "w-1")
        .env("FUNCTIONS_APP_ROOT_PATH", app.path())
        .env("ANNALS_DATA_DIR", data.path())
        .env("ANNALS_AUTH", "keys")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ends(child);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let started = Instant::now();
    let answer = loop {
        if let Ok(answer) = client.get(format!("http://127.0.0.1:{port}/")).send().await {
            break answer;
        }
        assert!(child.0.try_wait().unwrap().is_none(), "the handler ended");
        assert!(started.elapsed() < Duration::from_secs(30), "the host would give up here");
        tokio::time::sleep(Duration::from_millis(25)).await;
    };
    assert!(answer.status().is_success());
    let functions = fs::read_dir(app.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    for function in functions {
        let name = function.unwrap().file_name().into_string().unwrap();
        if name == "http" {
            continue;
        }
        // Whatever it says of an empty invocation: it knows the function.
        let answer = client.post(format!("http://127.0.0.1:{port}/{name}")).body("{}").send().await.unwrap();
        assert_ne!(answer.status().as_u16(), 404, "the handler does not know the function {name}");
    }
}
