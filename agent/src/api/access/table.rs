//! The table: every RPC method and every HTTP route, on which faces it is, and who may call it.

use Door::{Admin, Management, Node, Operations, Product};
use Who::{Administrator, Anyone, Joiner, ManagementServer, Member, NodeKey, Viewer};

/// A face of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// The node-to-node port, `listen.raft`.
    Node,
    /// The administrators' Unix socket, `listen.admin_socket`.
    Admin,
    /// The product's Unix socket and port, `listen.socket` and `listen.grpc`.
    Product,
    /// The management port, `listen.http`.
    Management,
    /// The operations port, `listen.ops`.
    Operations,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Whoever reaches the face.
    Anyone,
    /// Whoever shows a join token; the method itself checks it, through the log.
    Joiner,
    /// A node of the cluster, by its certificate.
    Member,
    /// A node of the cluster, by its certificate, or without one by the signature of its node key, which the method
    /// itself checks.
    NodeKey,
    /// A Management Server of the cluster, by its certificate.
    ManagementServer,
    /// Whoever may read: a viewer, an administrator, whoever may open the admin socket.
    Viewer,
    /// An administrator: by a token, or by the admin socket of a Management Server.
    Administrator,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The path: `/package.Service/Method`, or an HTTP route's.
    pub path: &'static str,
    /// The faces that it is on.
    pub doors: &'static [Door],
    /// Who may call it.
    pub who: Who,
}

const fn rule(path: &'static str, doors: &'static [Door], who: Who) -> Rule {
    Rule { path, doors, who }
}

const ADMIN: &[Door] = &[Admin, Node];

/// Every RPC method.
pub const RPCS: &[Rule] = &[
    rule("/quorate.node.v1.RaftService/Append", &[Node], ManagementServer),
    rule("/quorate.node.v1.RaftService/Heartbeat", &[Node], ManagementServer),
    rule("/quorate.node.v1.RaftService/Vote", &[Node], ManagementServer),
    rule("/quorate.node.v1.RaftService/PreVote", &[Node], ManagementServer),
    rule("/quorate.node.v1.RaftService/InstallSnapshot", &[Node], ManagementServer),
    rule("/quorate.node.v1.RaftService/TransferLeader", &[Node], ManagementServer),
    rule("/quorate.node.v1.ClusterService/Join", &[Node], Joiner),
    // What a Spooler Controller may propose, its own report, is looked at change by change.
    rule("/quorate.node.v1.ClusterService/ProposeStream", &[Node], Member),
    rule("/quorate.node.v1.ClusterService/ReadIndex", &[Node], Member),
    rule("/quorate.node.v1.ClusterService/NodeState", &[Node], Member),
    rule("/quorate.node.v1.ClusterService/Presence", &[Node], Member),
    rule("/quorate.node.v1.ClusterService/Announce", &[Node], Member),
    // A certificate that has ended can't be shown: then the signature of the node key is looked at alone.
    rule("/quorate.node.v1.ClusterService/IssueCertificate", &[Node], NodeKey),
    rule("/quorate.node.v1.ClusterService/RenewCertificate", &[Node], ManagementServer),
    rule("/quorate.node.v1.ClusterService/SignStatement", &[Node], ManagementServer),
    rule("/quorate.node.v1.ClusterService/SignIntegrityKey", &[Node], ManagementServer),
    rule("/quorate.v1.AdminService/Status", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ShowLicense", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ListActivations", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ClusterHealth", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ListAudit", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/LicenseHistory", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ShowTelemetry", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ListPendingJoins", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ListCertificates", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ShowCa", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/PlanActivation", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/Activate", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/InstallLicense", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/SetTelemetry", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/ShowTime", ADMIN, Viewer),
    rule("/quorate.v1.AdminService/ConfirmTime", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/CreateToken", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/ListTokens", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/RevokeToken", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/TransferLeader", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/RemoveNode", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/RenameNode", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/DecideJoin", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/RotateCertificate", ADMIN, Administrator),
    rule("/quorate.v1.AdminService/RotateCa", ADMIN, Administrator),
    rule("/quorate.v1.LicenseService/Check", &[Product], Anyone),
    rule("/quorate.v1.LicenseService/GetLicense", &[Product], Anyone),
    rule("/quorate.v1.LicenseService/Watch", &[Product], Anyone),
    rule("/quorate.v1.LicenseService/ReportBuild", &[Product], Anyone),
    rule("/grpc.health.v1.Health/Check", &[Product], Anyone),
    rule("/grpc.health.v1.Health/Watch", &[Product], Anyone),
    rule("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[Product], Anyone),
];

/// Every HTTP route.
pub const ROUTES: &[Rule] = &[
    rule("/api/v1/status", &[Management], Viewer),
    rule("/api/v1/license", &[Management], Viewer),
    rule("/healthz", &[Operations], Anyone),
    rule("/readyz", &[Operations], Anyone),
    rule("/metrics", &[Operations], Anyone),
];

/// The rule for a path on a face; none: nobody may.
pub fn find(door: Door, path: &str) -> Option<&'static Rule> {
    RPCS.iter().chain(ROUTES).find(|rule| rule.path == path && rule.doors.contains(&door))
}

impl Door {
    /// The word for it, in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Node => "node",
            Admin => "administration",
            Product => "product",
            Management => "management",
            Operations => "operations",
        }
    }

    /// Whether gRPC is spoken there; otherwise plain HTTP.
    pub fn speaks_grpc(self) -> bool {
        matches!(self, Node | Admin | Product)
    }
}
