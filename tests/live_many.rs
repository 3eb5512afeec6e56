// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: many containers, one after the other and at once, leave their recordings and nothing else.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use live::{Live, Runc};

/// Checks that each container has one recording that is complete, balanced and begins and ends as it did.
fn are_recorded(live: &Live, ids: &[String]) {
    live.expect_nothing_left();
    for id in ids {
        assert_eq!(live.recordings(id).len(), 1, "{id}");
        let report = live.bin(&["report", id]).expect_code(0);
        let calls = report.calls();
        assert!(calls[0].contains(" execve("), "{id}: {}", report.stdout);
        assert!(calls[calls.len() - 1].ends_with("+++ exited with 0 +++"), "{id}: {}", report.stdout);
        assert!(report.stdout.contains("0 lost;") && report.stdout.contains("they add up"), "{id}: {}", report.stdout);
        assert!(report.stdout.contains("# recording complete"), "{id}: {}", report.stdout);
    }
    let log = std::fs::read_to_string(live.path("run/hook.log")).unwrap_or_default();
    assert_eq!(log, "", "no hook had anything to complain about");
}

#[test]
fn fifty_containers_in_a_row_leave_fifty_recordings_and_nothing_else() {
    let test = "fifty_containers_in_a_row_leave_fifty_recordings_and_nothing_else";
    let Some(live) = Live::alone(test, &[Runc]) else { return };
    let bundle = live.bundle(&["true"]);
    let ids: Vec<String> = (0..50).map(|_| live.id()).collect();
    for id in &ids {
        live.run_container(Runc, &bundle, id).expect_code(0);
    }
    are_recorded(&live, &ids);
}

#[test]
fn twenty_containers_at_once_leave_twenty_recordings_and_nothing_else() {
    let test = "twenty_containers_at_once_leave_twenty_recordings_and_nothing_else";
    let Some(live) = Live::alone(test, &[Runc]) else { return };
    // They all run when the last one has started.
    let bundle = live.bundle(&["sh", "-c", "sleep 3; ls / >/dev/null; true"]);
    let ids: Vec<String> = (0..20).map(|_| live.id()).collect();
    let words = |id: &str| ["run", "--bundle", bundle.to_str().unwrap(), id].map(str::to_owned);
    let commands: Vec<_> = ids.iter().map(|id| live.oci_command(Runc, &words(id))).collect();
    let threads: Vec<_> = commands.into_iter().map(|command| std::thread::spawn(|| live::run(command, b""))).collect();
    for thread in threads {
        thread.join().unwrap().expect_code(0);
    }
    are_recorded(&live, &ids);
}
