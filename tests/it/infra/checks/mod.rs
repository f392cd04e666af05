//! What must hold of a deployment. Each check gives findings: what is wrong, by name.

mod alerts;
mod functions;
mod page;
mod parameters;
mod resources;
mod roles;
mod settings;

use super::model::Deployment;

/// All checks that need no running handler.
pub(super) fn all(deployment: &Deployment) -> Vec<String> {
    let checks = [
        resources::bicep,
        resources::resources,
        resources::secrets,
        settings::settings,
        settings::local,
        functions::connections,
        functions::functions,
        functions::host,
        functions::azd,
        roles::roles,
        parameters::parameters,
        alerts::alerts,
        page::deploy,
    ];
    checks.iter().flat_map(|check| check(deployment)).collect()
}
