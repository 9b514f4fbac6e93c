# What people type. `make help` lists the targets; each installs what it lacks, and says what that is.
# The work itself is in scripts/, localstack/ and demo/, where it can be read and run alone.

# Tests, clippy and the binary share one set of features and so one set of build artifacts.
FEATURES := --features fault-points
# rustup puts cargo here; a shell that was open before does not have it in its path yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-pipeline bench-overload budget chaos fmt clean-environment

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the main job on this machine, with real files; leaves a gateway running to play with
	@scripts/need cargo cc
	@demo/run

test: ## every test, on LocalStack, Azurite, PostgreSQL, Redis, clamd, an OpenID provider and a browser, which are installed and started
	@scripts/need cargo cc nextest
	@localstack/up
	@scripts/test $(FEATURES)
	@tests/chaos/run --check
	@tests/chaos/run --list tests/chaos/regressions.txt --sabotage

check: ## format, lints, documentation, licences, generated files, example policies with their cases, and deployment
	@scripts/need cargo cc fmt clippy deny
	cargo fmt --check
	cargo clippy --all-targets $(FEATURES) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --lib --no-deps $(FEATURES)
	@scripts/deny
	@scripts/generated $(FEATURES)
	@deploy/check
	cargo run --quiet $(FEATURES) -- policy check policies
	cargo run --quiet $(FEATURES) -- policy test policies --mutations

bench: ## whole requests beside bare actix and other programs, and the speed of minting, deciding and committing
	@scripts/need cargo cc wrk
	@benches/run

bench-overload: ## goodput, latency and memory at twice the load that a node can serve, for five minutes
	@scripts/need cargo cc wrk
	@benches/overload/run

budget: ## instructions that a request takes, compared with benches/budget.toml
	@scripts/need cargo cc valgrind
	@benches/budget/check

chaos: ## faults of all kinds against real nodes: SEEDS=n from SEED_START on, or one SEED=s
	@scripts/need cargo cc
	@tests/chaos/run $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20) --start $(or $(SEED_START),1))

bench-pipeline: ## uploads a second from PUT to visible, beside clamd alone, on LocalStack and on the embedded store
	@scripts/need cargo cc
	@benches/pipeline/run

fmt: ## format the Rust files
	@scripts/need cargo fmt
	cargo fmt

clean-environment: ## end LocalStack, Azurite, PostgreSQL, Redis, clamd and the OpenID provider of this checkout; what was installed stays
	@localstack/down
