-- The portal's records. Times are milliseconds since 1970 (UTC); ids are text; quantities NULL = unlimited.
-- The SQLite and the PostgreSQL file differ in types only: keep them side by side.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('order', 0);

CREATE TABLE products (
    name       TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE product_features (
    product TEXT NOT NULL REFERENCES products (name),
    feature TEXT NOT NULL,
    PRIMARY KEY (product, feature)
);

CREATE TABLE customers (
    name       TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE orders (
    order_id     TEXT PRIMARY KEY,
    customer     TEXT NOT NULL REFERENCES customers (name),
    product      TEXT NOT NULL REFERENCES products (name),
    kind         TEXT NOT NULL CHECK (kind IN ('subscription', 'perpetual')),
    term_days    BIGINT,
    support_days BIGINT,
    activate_by  BIGINT,
    revoked_at   BIGINT,
    created_at   BIGINT NOT NULL,
    CHECK ((kind = 'subscription') = (term_days IS NOT NULL))
);

CREATE TABLE order_entitlements (
    order_id TEXT NOT NULL REFERENCES orders (order_id),
    feature  TEXT NOT NULL,
    quantity BIGINT,
    PRIMARY KEY (order_id, feature)
);

-- Only the hash of an activation key is kept: who reads this table can't activate.
CREATE TABLE activation_keys (
    key_hash BYTEA PRIMARY KEY,
    last5    TEXT NOT NULL,
    order_id TEXT NOT NULL UNIQUE REFERENCES orders (order_id)
);

CREATE TABLE installations (
    support_id       TEXT PRIMARY KEY,
    cluster_id       TEXT NOT NULL UNIQUE,
    epoch_number     BIGINT NOT NULL,
    epoch_id         TEXT NOT NULL,
    fence            BIGINT NOT NULL,
    serial           BIGINT NOT NULL,
    home_computer_id TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL
);

-- What the last activation bound. The keys of the Management Servers in it are the pinned ones.
CREATE TABLE pinned_nodes (
    support_id   TEXT NOT NULL REFERENCES installations (support_id),
    node_id      BIGINT NOT NULL,
    role         TEXT NOT NULL,
    computer_id  TEXT NOT NULL,
    build        TEXT,
    node_key     TEXT NOT NULL,
    PRIMARY KEY (support_id, node_id),
    UNIQUE (support_id, computer_id),
    UNIQUE (support_id, node_key)
);

-- UNIQUE order_id: an order belongs to one installation, whatever happens at the same time.
CREATE TABLE installation_orders (
    order_id      TEXT PRIMARY KEY REFERENCES orders (order_id),
    support_id    TEXT NOT NULL REFERENCES installations (support_id),
    activated_at  BIGINT NOT NULL,
    expires_at    BIGINT,
    support_until BIGINT
);
CREATE INDEX installation_orders_by_support_id ON installation_orders (support_id);

-- One row for each issued answer. The request is kept without its activation key.
CREATE TABLE activations (
    idempotency_key TEXT PRIMARY KEY,
    cluster_id      TEXT NOT NULL,
    nonce           TEXT NOT NULL,
    support_id      TEXT NOT NULL REFERENCES installations (support_id),
    order_id        TEXT REFERENCES orders (order_id),
    key_last5       TEXT,
    kind            TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    request_digest  BYTEA NOT NULL,
    content_digest  BYTEA NOT NULL,
    request         BYTEA NOT NULL,
    answer          TEXT NOT NULL,
    serial          BIGINT NOT NULL,
    fence           BIGINT NOT NULL,
    outcome         TEXT NOT NULL CHECK (outcome IN ('issued', 'superseded')),
    at              BIGINT NOT NULL,
    UNIQUE (support_id, fence)
);
CREATE INDEX activations_by_cluster ON activations (cluster_id, nonce);
