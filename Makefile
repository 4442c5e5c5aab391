# Everything installs itself into the checkout (.venv, .venv-deploy, .tools) and only when the
# files it depends on have changed. `make run` and `make test` need Python 3.11+, Node and npm.

.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: help run token store sweep reindex bench bench-list backfill replay bench-webhook bench-buyer doctor bot export forget audit checkov licences docs test test-quick check lock install clean soak bench-removals

VENV := .venv
DEPLOY_VENV := .venv-deploy
AUDIT_VENV := .venv-audit
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
CUSTOMERS := $(VENV)/bin/customers
DYNOXIDE := .tools/dynoxide

STORE ?= demo
ACCOUNT ?=
CUSTOMER ?=
DO ?=
WORKERS ?= 2
TESTS ?= tests
QUICK_TESTS := tests/domain tests/docs tests/ending tests/functions tests/test_architecture.py \
	tests/test_budgets.py tests/operations/test_alarms.py tests/security/test_threats.py

help: ## this list
	@sed -nE 's/^([a-z][a-z-]*):.* ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | sort | \
		while IFS="$$(printf '\t')" read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

# -- run -----------------------------------------------------------------------------------------

run: install ## start everything on loopback; PORT, DATA_DIR, SEED and the rest: see README
	@exec $(PY) -m local.stack

# The operators' command: `$(CUSTOMERS) --help`, docs/cli.md. make gives STACK and DATA_DIR to it in
# the environment.

token: install ## print a JWT for STORE
	@$(CUSTOMERS) token $(STORE)

store: install ## register STORE for the connected ACCOUNT, or its TELEGRAM_OWNER; STACK=name: in a deployment
	@$(CUSTOMERS) store add $(STORE) $(ACCOUNT) $(if $(TELEGRAM_OWNER),--telegram-owner $(TELEGRAM_OWNER))

sweep: install ## run the sweep once, now; STACK as above
	@$(CUSTOMERS) sweep

reindex: install ## make STORE's customer list anew from its records; tells where they differed
	@$(CUSTOMERS) reindex $(STORE)

bench: install ## cold starts, warm calls, package, price: docs/bench/perf.md (valgrind, ten minutes)
	@$(PY) -m bench

bench-list: install ## pages of the list in stores of up to a million customers (hours, 30 GB)
	$(PY) -m bench.list

backfill: install ## read STORE's Stripe account into its records; RATE=requests/s, STACK: deployed
	@$(CUSTOMERS) backfill $(STORE) $(if $(RATE),--rate $(RATE))

replay: install ## apply STORE's parked and undelivered events again; ALL=1: every event of 30 days
	@$(CUSTOMERS) replay $(STORE) $(if $(RATE),--rate $(RATE)) $(if $(ALL),--all)

doctor: install ## check a deployment (STACK=name) or the local run, and say what to do
	@$(CUSTOMERS) doctor

bot: install ## the bot's state; DO=resume ends a pause, DO=off stops all removals, DO=on goes on
	@$(CUSTOMERS) bot $(or $(DO),show)

export: install ## all that is kept of CUSTOMER of STORE, as JSON
	@$(CUSTOMERS) export $(STORE) $(CUSTOMER)

forget: install ## erase who CUSTOMER of STORE is
	@$(CUSTOMERS) forget $(STORE) $(CUSTOMER)

bench-webhook: install ## what the webhook costs, by event type and over a mix: docs/bench/webhook.md
	@$(PY) -m bench.webhook
	@$(PY) -m bench.hanging

bench-removals: install ## how long after an end the buyer is out: docs/bench/removals.md (ten minutes)
	@$(PY) -m bench.removals

bench-buyer: install ## what one big buyer costs: docs/bench/buyer.md
	@$(PY) -m bench.buyer

# -- check ---------------------------------------------------------------------------------------

test: install $(DEPLOY_VENV)/.installed ## WORKERS=4 runs more at once, TESTS=path only some
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

test-quick: install ## in a minute: the rules, the functions in memory, who imports whom, the documents
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(QUICK_TESTS)

check: install ## lint, format, types, and known mistakes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy functions shared local standins customers_cli tests
	$(VENV)/bin/bandit --quiet --severity-level medium --recursive functions shared

audit: install $(AUDIT_VENV)/.installed ## known vulnerabilities of what is locked; needs a network
	@tools/audit $(AUDIT_VENV)/bin/pip-audit

checkov: install $(AUDIT_VENV)/.installed ## the expanded template against checkov's rules
	@$(PY) -m tools.checkov $(AUDIT_VENV)/bin/checkov

licences: install ## write docs/licences.md anew
	@$(PY) -m tools.licences

docs: install ## write docs/cli.md, the list of docs/stripe-events.md and events/ anew, from the code
	@$(PY) -m tools.cli_docs
	@$(PY) -m tools.event_docs
	@$(PY) -m tools.sample_events

soak: install ## the fault suites at length, and a month of a store: docs/faults.md (hours)
	FAULTS_LONG=1 $(PY) -m pytest -n $(WORKERS) -s tests/faults --deselect tests/faults/test_soak.py
	$(PY) -m tests.faults.soak --into docs/faults.md

# -- install -------------------------------------------------------------------------------------

install: $(VENV)/.installed $(CUSTOMERS) $(DYNOXIDE) ## what all of this needs, into the checkout

$(VENV)/.installed: requirements/bootstrap.txt requirements/dev.txt
	@test -x $(PY) || (python=$$(tools/find-python) && $$python -m venv $(VENV))
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/bootstrap.txt
	@$(UV) pip install --quiet --python $(PY) --compile-bytecode --require-hashes \
		-r requirements/dev.txt
	@touch $@

# A file of its own, and not an installed package: that would make the checkout importable from
# everywhere, and a package of the functions that lacks a file would go unnoticed.
$(CUSTOMERS): tools/customers $(VENV)/.installed
	@{ echo '#!$(abspath $(PY))'; cat $<; } > $@.new && chmod +x $@.new && mv $@.new $@

$(DEPLOY_VENV)/.installed: requirements/deploy.txt $(VENV)/.installed
	@test -x $(DEPLOY_VENV)/bin/python || \
		(python=$$(tools/find-python) && $$python -m venv --without-pip $(DEPLOY_VENV))
	@$(UV) pip install --quiet --python $(DEPLOY_VENV)/bin/python --require-hashes \
		-r requirements/deploy.txt
	@touch $@

$(AUDIT_VENV)/.installed: requirements/audit.txt $(VENV)/.installed
	@test -x $(AUDIT_VENV)/bin/python || \
		(python=$$(tools/find-python) && $$python -m venv --without-pip $(AUDIT_VENV))
	@$(UV) pip install --quiet --python $(AUDIT_VENV)/bin/python --require-hashes \
		-r requirements/audit.txt
	@touch $@

# The database of the local run and of the tests. A platform that is not in tools/package-lock.json
# has no hash to compare with, so there the exact version has to do.
$(DYNOXIDE): tools/package.json tools/package-lock.json
	@set -e; platform=$$(node -p 'process.platform + "-" + process.arch'); \
	version=$$(node -p 'Object.values(require("./tools/package.json").optionalDependencies)[0]'); \
	package=@dynoxide/$$platform; \
	npm ci --prefix tools --ignore-scripts --no-audit --no-fund --loglevel=error; \
	test -d tools/node_modules/$$package || \
		npm install --prefix tools --no-save --ignore-scripts --no-audit --no-fund \
			--loglevel=error $$package@$$version; \
	mkdir -p $(@D); \
	cp "$$(find tools/node_modules/$$package -type f -name 'dynoxide*' | head -1)" $@.new; \
	chmod +x $@.new; mv $@.new $@

lock: $(VENV)/.installed ## write requirements/*.txt anew from requirements/*.in
	@for name in bootstrap dev deploy audit runtime; do \
		constraint=$$(test $$name = runtime && echo "-c requirements/dev.txt"); \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal \
			--generate-hashes --no-annotate --python-version 3.11 $(LOCK_FLAGS) \
			requirements/$$name.in $$constraint -o requirements/$$name.txt || exit 1; \
	done
	@npm install --prefix tools --package-lock-only --ignore-scripts --loglevel=error

clean: ## what builds and checks leave behind; the data of the local run stays
	rm -rf build .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis test-artifacts
	find functions shared local standins customers_cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

# -- console -------------------------------------------------------------------------------------

.PHONY: console test-console deploy-console

run test: console

console: console/dist/index.html ## build the console

test-console: install console ## only the console's tests, in Chromium
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup tests/console

deploy-console: install console ## put the console into the bucket of the deployment STACK
	@$(CUSTOMERS) console deploy

console/node_modules/.installed: console/package.json console/package-lock.json
	@tools/check-node
	@npm ci --prefix console --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

console/dist/index.html: console/node_modules/.installed console/index.html \
		console/vite.config.ts console/tsconfig.json \
		$(shell find console/src console/public -type f)
	@npm run --silent --prefix console build -- --logLevel=warn
