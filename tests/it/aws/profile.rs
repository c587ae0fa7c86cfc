//! Profiles of ~/.aws/config, which are meant also where the environment has keys.

use super::*;
use crate::support::peer::Peer;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_profile_wins_over_the_environment_and_may_assume_a_role() {
    let test = "aws-profile";
    let Some(moto) = Moto::start(test) else {
        return;
    };
    let remote = bucket(moto, "aws-profile");
    let peer = Peer::start(moto.address());
    let list = |args: &[&str]| {
        let run = Run::new("list")
            .args(&["--remote", &remote, "--s3-endpoint", &peer.endpoint()])
            .args(args)
            .env("AWS_ENDPOINT_URL_STS", moto.endpoint())
            .env("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
            .secret_env("AWS_SECRET_ACCESS_KEY", "c4nary", "c4nary");
        let home = run.dir().join("home/.aws");
        std::fs::create_dir(&home).unwrap();
        let program = home.join("program");
        let script = "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"PROGRAM\",\"SecretAccessKey\":\"s\"}'\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "[profile keys]\nregion = eu-west-1\naws_access_key_id = PROFILE\naws_secret_access_key = s\n\
             [profile assumed]\nrole_arn = {ROLE}\nsource_profile = keys\nregion = us-east-1\n\
             [profile program]\ncredential_process = {}\nregion = us-east-1\n",
            program.display()
        );
        std::fs::write(home.join("config"), config).unwrap();
        let before = peer.seen().len();
        let ended = run.end();
        let keys: Vec<_> = peer.seen()[before..]
            .iter()
            .map(|seen| seen.access_key.clone().expect("signed"))
            .collect();
        (ended, keys)
    };
    let (ended, keys) = list(&[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(keys.iter().all(|key| key == "ENVIRONMENT") && !keys.is_empty());
    for (profile, wanted) in [
        ("keys", "PROFILE"),
        ("program", "PROGRAM"),
        ("assumed", "ASIA"),
    ] {
        let (ended, keys) = list(&["--aws-profile", profile]);
        assert_eq!(ended.code, 0, "{profile}: {}", ended.all());
        assert!(!keys.is_empty(), "{profile}");
        assert!(
            keys.iter().all(|key| key.starts_with(wanted)),
            "{profile}: {keys:?}"
        );
    }
    let (ended, keys) = list(&["--aws-profile", "missing"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(keys.is_empty());
    assert!(ended.stderr.contains("missing"), "{}", ended.all());
}
