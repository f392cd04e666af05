//! Azurite: from npm, pinned, in memory, on free ports, one for all tests of this process.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use annals::{
    config::{Storage, storage},
    store::azure::Account,
};

/// Azurite's published key.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Another account, with a key of its own.
const SECOND: &str = "vaultaccount";
const SECOND_KEY: &str = "c2Vjb25kLWFjY291bnQtb2YtYS10ZXN0LWF6dXJpdGUtb25seQ==";

/// A running Azurite; it ends with this process, which holds its stdin.
pub(crate) struct Azurite {
    /// What `AnnalsStorage` must be.
    pub(crate) connection_string: String,
    /// Another account of the same Azurite.
    pub(crate) second_account: String,
    _child: Child,
}

impl Azurite {
    /// The one that all tests share. Each test works in tables of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts another one, for a test that fills it.
    pub(crate) fn start() -> Self {
        let folder = installed();
        let [blob, queue, table] = free_ports();
        let mut child = Command::new("node")
            .arg(folder.join("start.js"))
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .args(["--blobPort", &blob, "--queuePort", &queue, "--tablePort", &table])
            .env("AZURITE_ACCOUNTS", format!("devstoreaccount1:{KEY};{SECOND}:{SECOND_KEY}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("node runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let listening = lines.find(|line| {
            line.as_ref().is_ok_and(|line| line.contains("Table service is successfully listening"))
        });
        assert!(listening.is_some(), "Azurite did not start");
        // What it prints later must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let connection = |account: &str, key: &str| {
            format!(
                "AccountName={account};AccountKey={key};TableEndpoint=http://127.0.0.1:{table}/{account};\
                 QueueEndpoint=http://127.0.0.1:{queue}/{account}"
            )
        };
        let (connection_string, second_account) =
            (connection("devstoreaccount1", KEY), connection(SECOND, SECOND_KEY));
        Self { connection_string, second_account, _child: child }
    }

    /// The account in it, through the product's own driver.
    pub(crate) fn account(&self) -> Account {
        let text = self.connection_string.clone();
        let settings = storage(&move |name| (name == "AnnalsStorage").then(|| text.clone()));
        match settings.expect("the connection string is good") {
            Storage::Azure(settings) => Account::open(&settings).expect("the account opens"),
            Storage::Embedded(_) => unreachable!("a connection string names an account"),
        }
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self._child.kill();
        let _ = self._child.wait();
    }
}

/// Installs Azurite on first use; test processes that start together wait for each other.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azurite");
    let lock = File::create(std::env::temp_dir().join("annals-azurite-install.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    if !folder.join("node_modules/azurite/package.json").is_file() {
        let status =
            Command::new("npm").args(["ci", "--silent"]).current_dir(&folder).status().expect("npm runs");
        assert!(status.success(), "npm ci failed");
    }
    folder
}

fn free_ports() -> [String; 3] {
    // All held at once, so that they differ.
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port().to_string())
}
