//! The table as a page for operators, `docs/access.md`.

use std::fmt::Write as _;

use super::table::{Door, ROUTES, RPCS, Rule, Who};

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for (title, door) in [
        ("Node port, `listen.raft`", Door::Node),
        ("Admin socket, `listen.admin_socket`", Door::Admin),
        ("Product socket and port, `listen.socket` and `listen.grpc`", Door::Product),
        ("Management port, `listen.http`", Door::Management),
        ("Operations port, `listen.ops`", Door::Operations),
    ] {
        let column = if door.speaks_grpc() { "method" } else { "route" };
        let _ = write!(page, "\n## {title}\n\n| {column} | who may call it |\n|---|---|\n");
        let rules: Vec<&Rule> = RPCS.iter().chain(ROUTES).filter(|rule| rule.doors.contains(&door)).collect();
        for rule in rules {
            let _ = writeln!(page, "| `{}` | {} |", rule.path, words(rule.who, door));
        }
    }
    page
}

fn words(who: Who, door: Door) -> &'static str {
    match (who, door) {
        (Who::Anyone, Door::Product) => "any process of the host that reaches it",
        (Who::Anyone, _) => "whoever reaches it",
        (Who::Joiner, _) => "whoever shows a join token, which is used up through the log",
        (Who::Member, _) => "a node of the cluster, by its certificate",
        (Who::NodeKey, _) => {
            "a node of the cluster, by the signature of its node key, and by its certificate if it shows one"
        }
        (Who::ManagementServer, _) => "a Management Server, by its certificate",
        (Who::Viewer, Door::Admin) => "whoever may open the socket",
        (Who::Viewer, Door::Node) => {
            "a viewer's or an administrator's token; a Management Server for whoever asks on its own admin socket"
        }
        (Who::Viewer, _) => "a viewer's or an administrator's token",
        (Who::Administrator, Door::Admin) => {
            "whoever may open the socket of a Management Server; on a Spooler Controller an administrator's token"
        }
        (Who::Administrator, Door::Node) => {
            "an administrator's token; a Management Server for whoever asks on its own admin socket"
        }
        (Who::Administrator, _) => "an administrator's token",
    }
}

const HEAD: &str = "\
# Who may call what

<!-- Made from agent/src/api/access/table.rs. QUORATE_BLESS=1 cargo test --workspace --lib access writes it again. -->

Every method and route of an agent, face by face. What is not in this table is refused: methods as unimplemented, routes
with 404. A call is looked at before its message is read. Refused calls are counted in `quorate_api_calls_denied_total`
and logged.

The admin socket is for the user that the agent runs as, and for root: its mode is 0600, and a process of another user is
refused by its peer credentials even if it got hold of the open socket's path. A node that was removed, a copy of a
member's data directory that an agent was started from, and a node of another cluster or epoch pass nowhere.
";
