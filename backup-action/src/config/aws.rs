//! Which credentials an S3 store gets.

use super::values::Values;
use crate::error::Usage;

/// Which credentials an S3 store gets; without any the SDK's own chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// The ARN of a role that the job's identity token is good for.
    pub role: Option<String>,
    /// A profile.
    pub profile: Option<String>,
}

impl AwsConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<AwsConfig> {
        let config = AwsConfig {
            role: values.text("aws-role-to-assume")?,
            profile: values.text("aws-profile")?,
        };
        let name = |setting| values.name(setting);
        if let Some(role) = &config.role
            && !is_role(role)
        {
            return Err(Usage::new(format!(
                "{}: {role:?} is not the ARN of a role",
                name("aws-role-to-assume")
            ))
            .hint("Write arn:aws:iam::123456789012:role/NAME, as `aws iam get-role --role-name NAME` shows it.")
            .into());
        }
        if let Some(profile) = &config.profile
            && profile
                .chars()
                .any(|c| c.is_control() || "[]\"".contains(c))
        {
            return Err(Usage::new(format!(
                "{}: {profile:?} cannot be the name of a profile",
                name("aws-profile")
            ))
            .hint("Write the NAME of a section [profile NAME] in ~/.aws/config.")
            .into());
        }
        if config.role.is_some() && config.profile.is_some() {
            return Err(Usage::new(format!(
                "{} and {} exclude each other",
                name("aws-role-to-assume"),
                name("aws-profile")
            ))
            .hint(
                "In GitHub Actions leave the profile out; elsewhere put role_arn into the profile.",
            )
            .into());
        }
        if values.text("remote")?.is_none() {
            for setting in ["aws-role-to-assume", "aws-profile"] {
                if values.is_flag(setting) {
                    return Err(Usage::new(format!("--{setting} needs --remote"))
                        .hint("Add --remote s3://BUCKET/PREFIX.")
                        .into());
                }
            }
        }
        Ok(config)
    }
}

/// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`
fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, service, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let named = resource.strip_prefix("role/").is_some_and(|name| {
        !name.is_empty()
            && !name.ends_with('/')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&b))
    });
    *arn == "arn"
        && (*partition == "aws" || partition.starts_with("aws-"))
        && *service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && named
}

#[cfg(test)]
mod tests {
    use crate::cli;
    use crate::config::Config;
    use crate::error::{is_usage, one_line};

    fn resolve(args: &[&str]) -> anyhow::Result<Config> {
        let matches = cli::command()
            .try_get_matches_from(["backup-action", "gate"].iter().chain(args))
            .unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        Config::resolve(name, matches, &|_| None)
    }

    #[test]
    fn a_role_is_an_arn_and_excludes_a_profile() {
        let remote = ["--remote", "s3://bucket"];
        for good in [
            "arn:aws:iam::123456789012:role/gate",
            "arn:aws-cn:iam::123456789012:role/ci/gate",
            "arn:aws-us-gov:iam::123456789012:role/a+b=c,d.e@f_g-h",
        ] {
            let config = resolve(&[&remote[..], &["--aws-role-to-assume", good]].concat());
            assert_eq!(config.unwrap().aws.role.as_deref(), Some(good));
        }
        for bad in [
            "gate",
            "arn:aws:iam::123456789012:user/gate",
            "arn:aws:iam::12345678901:role/gate",
            "arn:aws:iam::12345678901x:role/gate",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/$(id)",
            "arn:aws:iam:us-east-1:123456789012:role/gate",
            "arn:aws:sts::123456789012:assumed-role/gate/x",
            "arn:gcp:iam::123456789012:role/gate",
        ] {
            let error = resolve(&[&remote[..], &["--aws-role-to-assume", bad]].concat());
            assert!(is_usage(&error.unwrap_err()), "{bad}");
        }
        let role = [
            "--aws-role-to-assume",
            "arn:aws:iam::123456789012:role/gate",
        ];
        let error = resolve(&[&remote[..], &role, &["--aws-profile", "x"]].concat()).unwrap_err();
        assert!(one_line(&error).contains("exclude each other"));
        let error = resolve(&role).unwrap_err();
        assert!(one_line(&error).contains("needs --remote"));
        let error = resolve(&[&remote[..], &["--aws-profile", "a]b"]].concat()).unwrap_err();
        assert!(is_usage(&error));
    }
}
