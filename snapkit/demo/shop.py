"""A small shop, and a migration that ruins it."""

DATABASE = "shop"

SCHEMA_AND_DATA = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, joined date NOT NULL);
CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, ordered timestamptz NOT NULL,
    status text NOT NULL
);
CREATE TABLE order_items (
    order_id bigint NOT NULL REFERENCES orders, product_id bigint NOT NULL REFERENCES products,
    quantity int NOT NULL, PRIMARY KEY (order_id, product_id)
);
INSERT INTO customers
    SELECT n, 'Customer ' || n, 'customer' || n || '@shop.example', date '2020-01-01' + (n % 2000)::int
    FROM generate_series(1, 30000) AS n;
INSERT INTO products SELECT n, 'Product ' || n, (n % 997) / 10.0 + 1 FROM generate_series(1, 1000) AS n;
INSERT INTO orders
    SELECT n, n % 30000 + 1, timestamptz '2026-01-01 00:00Z' + n * interval '97 seconds',
           (ARRAY['paid', 'shipped', 'delivered'])[n % 3 + 1]
    FROM generate_series(1, 200000) AS n;
INSERT INTO order_items
    SELECT n, (n * 7 + item) % 1000 + 1, item FROM generate_series(1, 200000) AS n, generate_series(1, 2) AS item;
ANALYZE;
"""

BAD_MIGRATION = """
-- 0042: clean up orders that were never paid. (The condition is the wrong way round.)
BEGIN;
DELETE FROM order_items USING orders WHERE orders.id = order_id AND status IN ('paid', 'shipped', 'delivered');
DELETE FROM orders WHERE status IN ('paid', 'shipped', 'delivered');
ALTER TABLE customers DROP COLUMN email;
COMMIT;
"""

HOW_IT_STANDS = """
SELECT format('%s customers%s, %s orders, %s items sold',
    (SELECT count(*) FROM customers),
    (SELECT CASE count(*) WHEN 0 THEN ' without e-mail addresses' ELSE '' END FROM information_schema.columns
        WHERE table_name = 'customers' AND column_name = 'email'),
    (SELECT count(*) FROM orders), (SELECT coalesce(sum(quantity), 0) FROM order_items));
"""
