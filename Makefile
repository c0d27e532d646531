# Targets for builders, packagers and CI; `make help` lists them.
#
# Everything here is a thin shell around the go command: `go build ./...` and
# `go test ./...` work without make. What make adds is the release form of the
# commands: static, without cgo, with the build tag that selects pure Go OpenPGP
# (see docs/dependencies.md).

GO          ?= go
PREFIX      ?= /usr/local
DESTDIR     ?=
FUZZTIME    ?= 10s
TESTTIMEOUT ?= 30m

COMMANDS  := nbpack nbextract
TAGS      := containers_image_openpgp
# The race detector needs cgo, and with cgo the btrfs driver would want headers.
RACETAGS  := $(TAGS),exclude_graphdriver_btrfs

# The commands tell their version from what Go records of the repository. Where
# git does not work (a tarball, somebody else's checkout) they say "devel".
BUILDVCS  := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
RELEASE    = -tags $(TAGS) -trimpath -buildvcs=$(BUILDVCS) -ldflags='-s -w'
SOURCES   := go.mod go.sum $(shell find cmd pack extract spec internal -type f 2>/dev/null)

bindir  = $(DESTDIR)$(PREFIX)/bin
mandir  = $(DESTDIR)$(PREFIX)/share/man/man1
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: build
build: $(COMMANDS:%=bin/%) ## build both commands, static, into bin/

bin/%: $(SOURCES)
	CGO_ENABLED=0 $(GO) build $(RELEASE) -o $@ ./cmd/$*

.PHONY: test
test: ## all checks and tests; ends with the output of go test
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory race
	$(MAKE) --no-print-directory unit

# What tools a test needs (skopeo, docker-registry, …) it looks for itself, and
# skips without them, or with NBPACK_TEST_STRICT=1 fails; .ci/run installs them.
TESTFLAGS ?=

.PHONY: unit
unit: ## the tests of the release form: no cgo, with tags; TESTFLAGS=-v
	CGO_ENABLED=0 $(GO) test -tags purego ./internal/twinsum
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) -timeout $(TESTTIMEOUT) $(TESTFLAGS) ./...

RACEFLAGS ?= -short

.PHONY: race
# Unpacking real packages under the race detector takes many minutes and has no
# goroutines to watch, so those tests are left to unit; so are those that repeat for
# the sake of large numbers, unless RACEFLAGS is empty. So here tests may skip.
race: ## the tests under the race detector, where there is a C compiler
	@if command -v "$$($(GO) env CC)" >/dev/null; then \
		set -x; NBPACK_TEST_DEBS= NBPACK_TEST_STRICT= CGO_ENABLED=1 $(GO) test -race $(RACEFLAGS) -tags $(RACETAGS) -timeout $(TESTTIMEOUT) ./...; \
	else \
		echo "no C compiler: the race detector is left out"; \
	fi

.PHONY: lint
lint: ## gofmt and go vet, with and without tags
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" $$unformatted; exit 1; fi
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet -tags $(TAGS) ./...

.PHONY: fuzz
fuzz: ## run each fuzzer for FUZZTIME (10s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$name"; \
			CGO_ENABLED=0 $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

.PHONY: large
large: ## pack 8 GiB in bounded memory, and sync a thousand trees, many minutes; the docs have the figures
	CGO_ENABLED=0 NBPACK_LARGE_MIB=8192 $(GO) test -tags $(TAGS) -count=1 -timeout 30m -run TestMemory -v ./pack
	CGO_ENABLED=0 NBPACK_TEST_GIB=8 $(GO) test -tags $(TAGS) -count=1 -timeout 30m -run 'WriterHeap/zstd:chunked' -v ./internal/archive
	CGO_ENABLED=0 NBPACK_TEST_LARGE=1 $(GO) test -tags $(TAGS) -count=1 -timeout 30m -run 'TestSyncThousand|TestSyncCatalogIndex' -v ./extract/catalogrun

# Versions of a boot tree for "make chunks" and "make bench": made from Debian's
# packages once, or yours.
SERIES ?= $(or $(TMPDIR),/tmp)/nbpack-series$(if $(SMALL),-small)

.PHONY: chunks
chunks: ## measure what the size of chunks costs an update, on real kernels; SERIES=DIR
	sh testdata/chunks/series.sh $(SERIES) 6.1.0-54 6.1.0-55 6.1.0-56
	CGO_ENABLED=0 NBPACK_SERIES=$(SERIES)/6.1.0-54:$(SERIES)/6.1.0-55:$(SERIES)/6.1.0-56 \
		$(GO) test -tags $(TAGS) -count=1 -timeout 60m -run TestChunkSizes -v ./internal/archive

# NBPACK_TEST_DEBS names a directory with Debian's packages, as .ci/run fetches them.
.PHONY: boot-test
boot-test: build ## boot virtual machines from a tree that nbextract wrote, some minutes
	CGO_ENABLED=0 NBPACK_BOOT_TEST=1 NBPACK=$(CURDIR)/bin/nbpack NBEXTRACT=$(CURDIR)/bin/nbextract \
		$(GO) test -tags $(TAGS) -count=1 -timeout $(TESTTIMEOUT) -v ./internal/boottest

.PHONY: filesystems
filesystems: ## as root: the tests that write files on ext2, XFS, btrfs, tmpfs and an overlay, some minutes
	.ci/filesystems

# Which image is install.img of the trees: rescue-zstd.img with SMALL=1.
BENCHIMAGE ?= $(if $(SMALL),rescue-zstd.img,install-zstd.img)
BENCHFLAGS ?=

.PHONY: bench
bench: build ## both commands beside other tools, into docs/performance.md; SERIES=DIR, SMALL=1, BENCHFLAGS=--help
	SMALL=$(SMALL) sh testdata/chunks/series.sh $(SERIES) 6.1.0-54 6.1.0-55 6.1.0-56
	CGO_ENABLED=0 $(GO) build -o bin/bench ./internal/bench
	bin/bench --series $(SERIES) --image $(BENCHIMAGE) $(if $(SMALL),--large 256,--out docs/performance.md) $(BENCHFLAGS)

.PHONY: bench-serve
bench-serve: ## nbextract serve beside tftpd-hpa, dnsmasq and nginx, as root; docs/performance.md has the figures
	CGO_ENABLED=0 NBPACK_BENCH_SERVE=1 $(GO) test -tags $(TAGS) -count=1 -run TestBesidePeers -v ./internal/serve

.PHONY: demo
demo: build ## pack, extract, update a real boot tree; TREE=DIR takes yours
	@NBPACK=bin/nbpack NBEXTRACT=bin/nbextract sh testdata/demo/demo.sh

# Everything that is released: both commands for Linux servers, and nbpack for
# the Macs of people who build images.
LINUX  := amd64 arm64 ppc64le s390x riscv64
DARWIN := amd64 arm64
CROSS  := $(foreach arch,$(LINUX),$(COMMANDS:%=dist/linux-$(arch)/%)) \
          $(foreach arch,$(DARWIN),dist/darwin-$(arch)/nbpack)

.PHONY: cross
cross: $(CROSS) ## build for every platform, into dist/OS-ARCH/

dist/%: $(SOURCES)
	CGO_ENABLED=0 GOOS=$(word 1,$(subst -, ,$(subst /, ,$*))) GOARCH=$(word 2,$(subst -, ,$(subst /, ,$*))) \
		$(GO) build $(RELEASE) -o $@ ./cmd/$(notdir $@)

# Tarballs of the same: equal bytes from one commit with one version of Go, tar
# and gzip, wherever and whenever they are made.
PLATFORMS         ?= $(LINUX:%=linux-%) $(DARWIN:%=darwin-%)
VERSION           ?= $(shell git describe --tags --always 2>/dev/null || echo devel)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
TARBALLS          := $(PLATFORMS:%=dist/nbpack-$(VERSION)-%.tar.gz)

.PHONY: dist
dist: $(TARBALLS) ## release tarballs in dist/, with SHA256SUMS; PLATFORMS="linux-amd64 …" for some
	cd dist && sha256sum $(notdir $(TARBALLS)) >SHA256SUMS

$(foreach p,$(PLATFORMS),$(eval dist/nbpack-$(VERSION)-$(p).tar.gz: $(filter dist/$(p)/%,$(CROSS))))

dist/nbpack-$(VERSION)-%.tar.gz: LICENSE README.md
	tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime=@$(SOURCE_DATE_EPOCH) \
		--transform='s,^,nbpack-$(VERSION)/,' -cf $@.tmp \
		LICENSE README.md -C dist/$* $(sort $(notdir $(filter dist/$*/%,$^)))
	gzip -9n <$@.tmp >$@
	rm $@.tmp

# Two copies of what is committed, at paths of different length, with caches of
# their own: nothing that is compiled for one helps the other.
.PHONY: dist-check
dist-check: ## make dist twice from nothing, and compare the bytes (long; PLATFORMS=… for less)
	set -e; commit=$$(git rev-parse HEAD); tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	for copy in a another/place; do \
		mkdir -p "$$tmp/$$copy"; git archive $$commit | tar -x -C "$$tmp/$$copy"; \
		GOCACHE="$$tmp/cache" $(MAKE) --no-print-directory -C "$$tmp/$$copy" dist BUILDVCS=false \
			PLATFORMS='$(PLATFORMS)' VERSION='$(VERSION)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)'; \
		rm -rf "$$tmp/cache"; \
	done; \
	diff "$$tmp/a/dist/SHA256SUMS" "$$tmp/another/place/dist/SHA256SUMS"; \
	cat "$$tmp/a/dist/SHA256SUMS"

.PHONY: man
man: build ## write the manual pages, into bin/man/
	@rm -rf bin/man
	set -e; for c in $(COMMANDS); do bin/$$c man bin/man; done

.PHONY: completion
completion: build ## write the shell completions, into bin/completion/
	@rm -rf bin/completion; mkdir -p bin/completion
	set -e; for c in $(COMMANDS); do for s in bash zsh fish; do \
		bin/$$c completion $$s >bin/completion/$$c.$$s; done; done

.PHONY: install
install: build man completion ## install into DESTDIR and PREFIX (/usr/local)
	install -d $(bindir) $(mandir) $(bashdir) $(zshdir) $(fishdir)
	install -m 0755 $(COMMANDS:%=bin/%) $(bindir)
	install -m 0644 bin/man/*.1 $(mandir)
	set -e; for c in $(COMMANDS); do \
		install -m 0644 bin/completion/$$c.bash $(bashdir)/$$c; \
		install -m 0644 bin/completion/$$c.zsh $(zshdir)/_$$c; \
		install -m 0644 bin/completion/$$c.fish $(fishdir)/$$c.fish; done

.PHONY: clean
clean: ## remove bin/ and dist/
	rm -rf bin dist
