//! Nobody here can reach Azure: what a deployment needs is checked against what the code and the
//! host need, without network. `mutations` proves that each check sees what it is for.

mod bicep;
mod checks;
mod logging;
mod model;
mod mutations;
mod package;
mod run;
mod survival;
mod tracing;

use std::process::Command;

use self::model::{Deployment, sources};

fn assert_nothing(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_deployment_holds_everything_that_the_code_and_the_host_expect() {
    let deployment = Deployment::read(&sources());
    assert!(deployment.bicep.len() > 10 && deployment.roles.len() > 10, "the files were read");
    assert_nothing(&checks::all(&deployment));
}

/// Where the Bicep compiler is at hand, it has the last word; warnings count.
#[test]
fn the_compiler_takes_every_file_where_there_is_one() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = root.join("../shared/tools/bicep");
    let compiler = if beside.is_file() { beside } else { "bicep".into() };
    for path in sources().keys().filter(|path| path.ends_with(".bicep")) {
        let built = Command::new(&compiler).arg("build").arg(root.join(path)).arg("--stdout").output();
        // Not found: the parser's check above stands alone.
        let Ok(built) = built else { return };
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success() && !said.contains("Warning"), "{path}: {said}");
    }
}
