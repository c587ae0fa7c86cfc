//! What is a sign of life, and what is not: a monitor that is asked by a daily prune would not notice
//! that no gate has run for weeks.

use super::{HEARTBEAT_TOKEN, with_heartbeat};
use crate::gate::world::{World, sample};
use crate::support::web::Web;

#[test]
fn only_gates_and_drills_are_a_sign_of_life() {
    let Some(cluster) = sample("notify-heartbeat") else {
        return;
    };
    let world = World::local(cluster);
    let beat = Web::start(&[]);
    let url = beat.url(HEARTBEAT_TOKEN);
    world.passes(with_heartbeat(world.gate(), &url));
    assert_eq!(beat.take().len(), 1, "gate");
    for (command, beats) in [
        ("prune", 0),
        ("verify", 0),
        ("verify-receipt", 0),
        ("drill", 1),
    ] {
        let run = with_heartbeat(world.run(command), &url);
        let run = match command {
            "drill" => run
                .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
                .args(&["--engine", "local"]),
            _ => run,
        };
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!(beat.take().len(), beats, "{command}: {}", ended.all());
    }
}
