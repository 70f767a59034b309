# The commands that people type most. `verify` changes nothing; `fix` mends what a machine can.

.PHONY: verify fix bench soak deny

verify:
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace

fix:
	cargo fmt
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# What this machine gives, durable, in process; about fifteen minutes (figures: docs/performance.md).
bench:
	cargo run --release -- bench --shape chain:10,diamond,fanout:100 --concurrency 256 --runs 20000
	python3 benches/service.py
	cargo bench --bench scale
	cargo bench --bench micro

# Thirty rounds of kill -9 with a checker, and its negative control; 500 random failures of the store.
soak:
	CRANE_SOAK_ROUNDS=30 cargo test --release --test it soak -- --nocapture
	CRANE_FAILURE_ROUNDS=500 cargo test -p crane-store random_failures

# Licenses, bans and sources of all dependencies; needs `cargo install cargo-deny --locked`.
deny:
	cargo deny check bans licenses sources
