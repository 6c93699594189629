# The environment lives in .venv; everything else is a file of the project or below runs/.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 10
APT := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq

.PHONY: help demo test test-services test-wheel coverage lint docs wheel clean

help:
	@echo "make demo           install, search on digits, write the front, export its knee"
	@echo "make test           install, lint, type-check and test"
	@echo "make test-services  the tests that need a browser, an ssh server or an idle machine; installs with apt what is missing"
	@echo "make test-wheel     the wheel in an environment of its own, and the program of the README"
	@echo "make coverage       the tests of make test with branch coverage, printed by file; takes about twice as long"
	@echo "make docs           build the documentation into runs/site; fails at anything that is missing"
	@echo "make wheel          build the distribution into dist/"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one with make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/threshnet demo

# The linters run at the same time as the tests; their output is printed in one piece.
test: .venv/installed
	@{ output=$$($(MAKE) --no-print-directory lint 2>&1); status=$$?; printf '\n%s\n' "$$output"; exit $$status; } & lint=$$!; \
	$(PYTEST) -m 'not services and not wheel'; tests=$$?; \
	wait $$lint || { echo "make lint failed; its output is above"; exit 1; }; exit $$tests

test-services: .venv/installed
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { $(APT) chromium; } >/dev/null
	@test -x /usr/sbin/sshd || { $(APT) openssh-server; } >/dev/null
	$(PYTEST) -m 'services and not idle'
	$(BIN)/python -m pytest -m 'services and idle' tests/search_tests/latency

test-wheel: .venv/installed
	$(BIN)/python -m pytest -m wheel --durations 10 tests/test_wheel.py

# Python 3.14 measures branches with little overhead; earlier versions trace every line.
coverage: .venv/installed
	$(PYTEST) -m 'not services and not wheel' --cov

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github

docs: .venv/installed
	$(BIN)/python -m docs.generate
	$(BIN)/python -m zensical build --strict --clean
	$(BIN)/python -m docs.check runs/site
	@echo "Open runs/site/index.html. Its search needs a server: python3 -m http.server -d runs/site"

wheel: .venv/installed
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv build dist runs .cache docs/pages/generated *.egg-info
