-- The life of a license after its first activation: trials, restores, changes of orders, issuing keys, telemetry.
-- The SQLite and the PostgreSQL file differ in types only: keep them side by side.

-- An order may be meant for one installation alone, be stopped for a time, and allow transfers.
ALTER TABLE orders ADD COLUMN for_support_id TEXT REFERENCES installations (support_id);
ALTER TABLE orders ADD COLUMN blocked_at INTEGER;
ALTER TABLE orders ADD COLUMN transfers_per_year INTEGER;

-- A renewal licenses nothing by itself: its days are added to those of the orders that it renews.
CREATE TABLE order_renewals (
    order_id         TEXT NOT NULL REFERENCES orders (order_id),
    renewed_order_id TEXT NOT NULL REFERENCES orders (order_id),
    PRIMARY KEY (order_id, renewed_order_id)
);

ALTER TABLE installations ADD COLUMN blocked_at INTEGER;
CREATE INDEX pinned_nodes_by_computer_id ON pinned_nodes (computer_id);

CREATE TABLE trials (
    support_id TEXT PRIMARY KEY REFERENCES installations (support_id),
    started_at INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL
);

CREATE TABLE trial_entitlements (
    support_id TEXT NOT NULL REFERENCES trials (support_id),
    feature    TEXT NOT NULL,
    quantity   INTEGER,
    PRIMARY KEY (support_id, feature)
);

-- PRIMARY KEY computer_id: a computer has one trial, whatever happens at the same time. Kept for ever.
CREATE TABLE trial_computers (
    computer_id TEXT PRIMARY KEY,
    support_id  TEXT NOT NULL REFERENCES trials (support_id),
    at          INTEGER NOT NULL
);

-- Clusters whose installation was restored under another cluster id. They get no answer any more.
CREATE TABLE former_clusters (
    cluster_id  TEXT PRIMARY KEY,
    support_id  TEXT NOT NULL REFERENCES installations (support_id),
    replaced_by TEXT NOT NULL,
    replaced_at INTEGER NOT NULL
);
CREATE INDEX former_clusters_by_support_id ON former_clusters (support_id);

-- Restores that wait for the vendor.
CREATE TABLE restore_requests (
    support_id  TEXT NOT NULL REFERENCES installations (support_id),
    cluster_id  TEXT NOT NULL,
    asked_at    INTEGER NOT NULL,
    approved_at INTEGER,
    PRIMARY KEY (support_id, cluster_id)
);

-- What the vendor's staff changed. The subject is an order's number or a Support ID.
INSERT INTO counters (name, value) VALUES ('vendor_action', 0);
CREATE TABLE vendor_actions (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    subject TEXT NOT NULL,
    action  TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX vendor_actions_by_subject ON vendor_actions (subject);

-- Which issuing key signed an answer.
ALTER TABLE activations ADD COLUMN key_id TEXT;
CREATE TABLE revoked_issuing_keys (
    key_id     TEXT PRIMARY KEY,
    revoked_at INTEGER NOT NULL
);

CREATE TABLE telemetry_reports (
    support_id  TEXT NOT NULL REFERENCES installations (support_id),
    report_id   TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    payload     TEXT NOT NULL,
    PRIMARY KEY (support_id, report_id)
);
CREATE INDEX telemetry_reports_by_time ON telemetry_reports (support_id, received_at);
