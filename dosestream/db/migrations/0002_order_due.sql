-- When an order's state changes with the clock alone: expected becomes overdue.
ALTER TABLE imaging_order ADD COLUMN next_due timestamptz;
CREATE INDEX imaging_order_due ON imaging_order (next_due) WHERE next_due IS NOT NULL;
