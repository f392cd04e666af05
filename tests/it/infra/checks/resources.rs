//! Resources: well-formed, and safe.

use super::super::{
    bicep::{Expr, Kind},
    model::Deployment,
};

pub(super) fn bicep(deployment: &Deployment) -> Vec<String> {
    let mut findings: Vec<_> = deployment.bicep.iter().flat_map(|file| file.faults.clone()).collect();
    for file in &deployment.bicep {
        for one in &file.declarations {
            if matches!(one.kind, Kind::Parameter | Kind::Output) && !one.described {
                findings.push(format!("{}: `{}` has no @description", file.path, one.name));
            }
            if one.kind == Kind::Resource && !one.of.contains('@') {
                findings.push(format!("{}: the type of `{}` names no version", file.path, one.name));
            }
        }
    }
    findings
}

pub(super) fn resources(deployment: &Deployment) -> Vec<String> {
    const ACCOUNT: [(&str, &str); 7] = [
        ("allowSharedKeyAccess", "false"),
        ("allowBlobPublicAccess", "false"),
        ("allowCrossTenantReplication", "false"),
        ("isLocalUserEnabled", "false"),
        ("supportsHttpsTrafficOnly", "true"),
        ("defaultToOAuthAuthentication", "true"),
        ("minimumTlsVersion", "TLS1_2"),
    ];
    const SITE: [(&str, &str); 2] = [("httpsOnly", "true"), ("clientAffinityEnabled", "false")];
    const RULES: [(&str, &[(&str, &str)]); 6] = [
        ("Microsoft.Storage/storageAccounts@", &ACCOUNT),
        (
            "Microsoft.EventGrid/topics@",
            &[
                ("disableLocalAuth", "true"),
                ("inputSchema", "CloudEventSchemaV1_0"),
                ("minimumTlsVersionAllowed", "1.2"),
            ],
        ),
        ("Microsoft.Insights/components@", &[("DisableLocalAuth", "true")]),
        (
            "Microsoft.KeyVault/vaults@",
            &[("enableRbacAuthorization", "true"), ("enablePurgeProtection", "true")],
        ),
        ("Microsoft.Web/sites@", &SITE),
        ("Microsoft.Storage/storageAccounts/blobServices/containers@", &[("publicAccess", "None")]),
    ];
    let mut findings = Vec::new();
    for (file, resource) in deployment.resources() {
        let properties = resource.value.as_ref().and_then(|body| body.at(&["properties"]));
        let says = |name: &str| {
            let value = properties.and_then(|properties| properties.at(&[name]));
            value.and_then(|value| value.text().or_else(|| value.written()))
        };
        for (_, wanted) in RULES.iter().filter(|(of, _)| resource.of.starts_with(of)) {
            for (name, value) in *wanted {
                if says(name) != Some(value) {
                    findings.push(format!("{}: `{}` must say {name}: {value}", file.path, resource.name));
                }
            }
        }
        let public = [
            "Microsoft.Storage/storageAccounts@",
            "Microsoft.EventGrid/topics@",
            "Microsoft.Web/sites@",
            "Microsoft.KeyVault/vaults@",
        ];
        if public.iter().any(|of| resource.of.starts_with(of))
            && says("publicNetworkAccess") != Some("publicNetworkAccess")
        {
            findings.push(format!("{}: public access to `{}` must be a parameter", file.path, resource.name));
        }
    }
    findings.extend(site(deployment));
    findings
}

fn site(deployment: &Deployment) -> Vec<String> {
    let found = deployment.resources().find(|(_, one)| one.of.starts_with("Microsoft.Web/sites@"));
    let Some(body) = found.and_then(|(_, one)| one.value.as_ref()) else {
        return vec!["there is no function app".to_owned()];
    };
    let mut findings = Vec::new();
    let config = ["properties", "functionAppConfig"];
    let at = |path: &[&str]| body.at(&[&config[..], path].concat());
    if at(&["runtime", "name"]).and_then(Expr::text) != Some("custom") {
        findings.push("the runtime of the function app must be custom".to_owned());
    }
    for path in [
        &["deployment", "storage"][..],
        &["scaleAndConcurrency", "triggers", "http", "perInstanceConcurrency"],
    ] {
        if at(path).is_none() {
            findings.push(format!("the function app must say {}", path.join(".")));
        }
    }
    let site = body.at(&["properties", "siteConfig"]);
    if site.and_then(|site| site.at(&["minTlsVersion"])).and_then(Expr::text) != Some("1.2") {
        findings.push("the function app must say siteConfig.minTlsVersion: 1.2".to_owned());
    }
    if site.is_some_and(|site| site.at(&["linuxFxVersion"]).is_some() || site.at(&["appSettings"]).is_some())
    {
        findings.push(
            "siteConfig of the function app must hold neither linuxFxVersion nor appSettings".to_owned(),
        );
    }
    findings
}

/// No key is asked for anywhere, and nothing secret comes out.
pub(super) fn secrets(deployment: &Deployment) -> Vec<String> {
    const ASKING: [&str; 6] =
        ["listKeys(", "listAccountSas(", "listServiceSas(", "AccountKey=", "SharedAccessKey", "primaryKey"];
    let mut findings = Vec::new();
    for file in &deployment.bicep {
        for word in ASKING {
            if file.text.contains(word) {
                findings.push(format!("{} asks for a key ({word})", file.path));
            }
        }
    }
    findings
}
