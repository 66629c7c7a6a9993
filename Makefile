# Two commands do everything: `make run` shows the product at work, `make test` runs all that must hold.
# Both install what is missing first (system libraries through apt on Debian and Ubuntu, the rest into .venv).
.PHONY: run test demo format bench setup

PYTHON := .venv/bin/python

run:
	@sh installers/setup.sh
	@sh installers/run.sh $(FILES)

demo:
	@sh installers/setup.sh
	@$(PYTHON) -m tests.journeys.demonstration

test:
	@sh installers/setup.sh tests
	@sh tests/run.sh

bench:
	@sh installers/setup.sh
	@$(PYTHON) -m benchmarks

format:
	@$(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .
