-- Which tenant of its installation an order licenses, and a trial: more than one comes later, the records are ready.
-- Telemetry is told of the whole installation. The SQLite and the PostgreSQL file differ in types only: keep them
-- side by side.

ALTER TABLE installation_orders ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
DROP INDEX installation_orders_by_support_id;
CREATE INDEX installation_orders_by_tenant ON installation_orders (support_id, tenant);

ALTER TABLE trials ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
