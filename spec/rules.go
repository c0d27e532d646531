package spec

// Ids of the rules. Refusals and violations carry them, netboot.md explains
// each; a test compares the two lists.
const (
	RuleJSON         = "json-syntax"
	RuleJSONKeys     = "json-keys"
	RuleDocumentSize = "document-size"
	RuleDocument     = "document-missing"
	RuleSchema       = "schema-version"
	RuleMediaType    = "media-type"
	RuleDescriptor   = "descriptor"
	RuleDigestSyntax = "digest-syntax"
	RuleDigest       = "digest-mismatch"
	RuleSize         = "size-mismatch"
	RuleDiffID       = "diff-id"
	RuleIndexDepth   = "index-depth"
	RulePlatform     = "platform"
	RuleBootTree     = "boot-tree"
	RuleConfig       = "artifact-config"
	RuleTitle        = "title"

	RuleLayerType   = "layer-type"
	RuleLayerCount  = "layer-count"
	RuleLayerSize   = "layer-size"
	RuleLayerStream = "layer-stream"
	RuleFileTable   = "file-table"
	RuleChunkTable  = "chunk-table"
	RuleTarHeader   = "tar-header"
	RuleEntryType   = "entry-type"
	RuleEntryCount  = "entry-count"
	RuleWhiteout    = "whiteout"

	RulePath         = "path"
	RulePathReserved = "path-reserved"
	RulePathTwice    = "path-twice"
	RulePathCase     = "path-case"
	RulePathParent   = "path-parent"
	RuleLinkTarget   = "link-target"
	RuleLinkDangling = "link-dangling"

	RuleSumsMissing  = "sums-missing"
	RuleSumsSyntax   = "sums-syntax"
	RuleSumsUnlisted = "sums-unlisted"
	RuleSumsExtra    = "sums-extra"
	RuleSumsMismatch = "sums-mismatch"
	RulePayloadEmpty = "payload-empty"

	RuleVersion      = "version-label"
	RuleLabelValue   = "label-value"
	RuleLabelsAgree  = "labels-agree"
	RuleLabelMissing = "label-missing"
	RuleEntrypoint   = "entrypoint"
	RuleEntryLink    = "entry-link"
	RuleDowngrade    = "downgrade"
	RuleDrift        = "drift"
	RuleLayoutForm   = "layout-form"

	RuleForeignForm    = "foreign-form"
	RuleForeignTypes   = "foreign-types"
	RuleLayerURLs      = "layer-urls"
	RuleSizeUndeclared = "size-undeclared"
	RuleSrcUndeclared  = "src-undeclared"
	RuleAnnotations    = "annotations"
	RuleOSArch         = "os-arch"
	RuleSecondStage    = "second-stage"
	RuleOrderSums      = "order-sums"
	RuleOrderPayload   = "order-payload"
	RuleOrderLinks     = "order-links"
	RuleLinkAbsent     = "entry-link-absent"
	RuleLinkCopy       = "entry-link-copy"
	RuleHardlink       = "hardlink"
	RuleDirRepeated    = "dir-repeated"
	RuleMode           = "mode"
	RuleOwner          = "owner"
	RuleTimes          = "times"

	RuleIndexForm     = "index-form"
	RuleIndexMark     = "index-mark"
	RuleIndexPlatform = "index-platform"
	RuleIndexDiskType = "index-disktype"
	RuleIndexOrder    = "index-order"
	RuleIndexNested   = "index-nested"
	RuleIndexTwice    = "index-twice"
)

// Severity says what a violation means.
type Severity string

const (
	// SeverityError: a consumer refuses the image.
	SeverityError Severity = "error"
	// SeverityWarning: consumers take the image, but nbpack writes it otherwise.
	SeverityWarning Severity = "warning"
)

// Rule is one rule of the format.
type Rule struct {
	ID       string
	Severity Severity
	Summary  string // what must hold
	Advice   string // what to do about a violation; may be empty
}

// LookupRule gives the rule with this id.
func LookupRule(id string) (Rule, bool) {
	for _, r := range Rules() {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}

// Rules gives every rule of the format: first what consumers refuse, from the
// outside of an image to its inside, then what only lint mentions.
func Rules() []Rule {
	return append(errorRules(), warningRules()...)
}

const (
	adviceRebuild  = "the image is damaged or was made by hand; ask its publisher, or build it again with nbpack"
	adviceTransfer = "try again; if it stays, the registry or a mirror holds damaged content"
	adviceHostile  = "do not use this image before its publisher has explained it"
)

func errorRules() []Rule {
	list := []Rule{
		{ID: RuleJSON, Summary: "an index, a manifest and a config are well-formed UTF-8 JSON with nothing behind it", Advice: adviceRebuild},
		{ID: RuleJSONKeys, Summary: "no JSON object has a key twice or a key that differs from a defined one only by case", Advice: adviceHostile},
		{ID: RuleDocumentSize, Summary: "an index, a manifest, a config, SHA256SUM and the file table keep their size bounds", Advice: adviceRebuild},
		{ID: RuleDocument, Summary: "the image has a manifest and a config", Advice: adviceRebuild},
		{ID: RuleSchema, Summary: "schemaVersion is 2", Advice: "docker schema 1 is not supported; push the image again with a current tool"},
		{ID: RuleMediaType, Summary: "descriptor, response and body agree on a known media type, and a body is an index or a manifest, not both", Advice: adviceHostile},
		{ID: RuleDescriptor, Summary: "a descriptor has a media type and a size that is not negative", Advice: adviceHostile},
		{ID: RuleDigestSyntax, Summary: "digests are sha256, sha384 or sha512, in lower-case hex", Advice: adviceRebuild},
		{ID: RuleDigest, Summary: "bytes have the digest that names them, a file the one that src.digest says", Advice: adviceTransfer},
		{ID: RuleSize, Summary: "bytes have the length that their descriptor says", Advice: adviceTransfer},
		{ID: RuleDiffID, Summary: "the config has one diff ID for each layer, and the uncompressed layer has it", Advice: adviceRebuild},
		{ID: RuleIndexDepth, Summary: "indexes are not nested too deep, and not in a circle", Advice: adviceHostile},
		{ID: RulePlatform, Summary: "the config says os and architecture; an artifact and its index entry do not contradict each other", Advice: adviceRebuild},
		{ID: RuleBootTree, Summary: "what is laid out is a boot tree, and not a disk, a single file or the mark of a removed entry", Advice: "nbextract list shows what the reference holds, nbextract fetch gets a single file"},
		{ID: RuleConfig, Summary: "the config of an artifact is empty, or of a type that no image has", Advice: "push the artifact again without a config"},
		{ID: RuleTitle, Summary: "every layer of an artifact has a title, or holds nothing", Advice: "push the artifact again with titles; podman leaves them out with --artifact-exclude-titles"},

		{ID: RuleLayerType, Summary: "every layer of an image, and a directory in an artifact, is a tar, plain, gzip or zstd, in the registry itself", Advice: "this may be another kind of artifact; netboot images have tar layers"},
		{ID: RuleLayerCount, Summary: "there is at least one layer and not more than the bound", Advice: adviceRebuild},
		{ID: RuleLayerSize, Summary: "a layer unpacks to the size that it or src.size declares, or within the bound", Advice: adviceHostile},
		{ID: RuleLayerStream, Summary: "a layer decompresses without errors, within the memory bound, to its very end", Advice: adviceRebuild},
		{ID: RuleFileTable, Summary: "the file table and its annotations are well-formed and stay inside the blob", Advice: adviceRebuild},
		{ID: RuleChunkTable, Summary: "the table of contents and the tar-split of a zstd:chunked layer are well-formed, within their bounds, and stay inside the blob", Advice: adviceRebuild},
		{ID: RuleTarHeader, Summary: "tar headers are well-formed, sizes in ustar and PAX agree, no sparse files", Advice: adviceHostile},
		{ID: RuleEntryType, Summary: "entries are files, directories, symlinks or hard links", Advice: "leave devices, fifos and sockets out of the image"},
		{ID: RuleEntryCount, Summary: "entries and their names keep their bounds", Advice: "pack fewer files"},
		{ID: RuleWhiteout, Summary: "no whiteouts", Advice: "squash the image, or do not delete files in a later layer"},

		{ID: RulePath, Summary: "names are clean relative UTF-8 paths without backslash and control characters, within the bounds", Advice: "rename the file"},
		{ID: RulePathReserved, Summary: "no name that boot directories keep for themselves", Advice: "rename the file"},
		{ID: RulePathTwice, Summary: "no path twice, except directories", Advice: "write each file in one layer only"},
		{ID: RulePathCase, Summary: "no two names that differ only by case", Advice: "rename or leave out one of the two"},
		{ID: RulePathParent, Summary: "what lies above an entry is a directory", Advice: adviceHostile},
		{ID: RuleLinkTarget, Summary: "link targets are relative and stay inside the tree", Advice: "make the link relative, or leave it out"},
		{ID: RuleLinkDangling, Summary: "links lead to something in the tree, hard links to an earlier file", Advice: "add the target, or leave the link out"},

		{ID: RuleSumsMissing, Summary: "an image has one regular file SHA256SUM at the top", Advice: "add SHA256SUM, or build the image with nbpack"},
		{ID: RuleSumsSyntax, Summary: "SHA256SUM has the lines that sha256sum writes, each path once", Advice: "write it with sha256sum, not in BSD style (--tag)"},
		{ID: RuleSumsUnlisted, Summary: "SHA256SUM lists every regular file of the payload", Advice: "list the file, or leave it out"},
		{ID: RuleSumsExtra, Summary: "SHA256SUM lists nothing else", Advice: "write SHA256SUM after the tree is complete, without links and without itself"},
		{ID: RuleSumsMismatch, Summary: "every file has the checksum that SHA256SUM says", Advice: adviceRebuild},
		{ID: RulePayloadEmpty, Summary: "the payload has a regular file", Advice: "an image without files would empty the boot tree"},

		{ID: RuleVersion, Summary: "an image has the version label, and it is 1 wherever it stands", Advice: "this may not be a netboot image, or one for a newer nbextract"},
		{ID: RuleLabelValue, Summary: "labels that name directories and files are fit for it", Advice: "correct the label"},
		{ID: RuleLabelsAgree, Summary: "config labels, manifest annotations and what the index entry of an artifact says agree", Advice: "a tool changed one of the two; build the image again"},
		{ID: RuleLabelMissing, Summary: "the labels that the chosen layout needs are there", Advice: "choose another layout (--layout) or give the value (--set os.name=…)"},
		{ID: RuleEntrypoint, Summary: "entrypoint labels name existing files", Advice: "correct the label, or add the file"},
		{ID: RuleEntryLink, Summary: "BOOT, BOOTA and BOOTL lead to what their label names, or can be created", Advice: "remove the other file of this name from the image"},
		{ID: RuleDowngrade, Summary: "an image is not older than the one that it replaces", Advice: "use --allow-downgrade if that is what you want"},
		{ID: RuleDrift, Summary: "a boot tree is as its image has it (asked by nbextract verify)", Advice: "nbextract pull repairs it"},
		{ID: RuleLayoutForm, Summary: "a layout, an archive or a directory of an image holds readable regular files in their places", Advice: "copy the image there again, with nbpack or skopeo"},
	}
	for i := range list {
		list[i].Severity = SeverityError
	}
	return list
}

func warningRules() []Rule {
	list := []Rule{
		{ID: RuleForeignForm, Summary: "the form is that of a netboot image or a netboot artifact"},
		{ID: RuleForeignTypes, Summary: "media types are those of OCI"},
		{ID: RuleLayerURLs, Summary: "layers have no urls; consumers do not follow them"},
		{ID: RuleSizeUndeclared, Summary: "every layer of an image declares its uncompressed size"},
		{ID: RuleSrcUndeclared, Summary: "every file of an artifact has src.digest and src.size"},
		{ID: RuleAnnotations, Summary: "every netboot label is repeated as a manifest annotation"},
		{ID: RuleOSArch, Summary: "label os.arch is the platform of the config"},
		{ID: RuleSecondStage, Summary: "entrypoint and alternative entrypoint lie in one directory"},
		{ID: RuleOrderSums, Summary: "SHA256SUM is sorted, alone in layer 1, and that layer is gzip or plain"},
		{ID: RuleOrderPayload, Summary: "entries, and the files of an artifact, are sorted by path"},
		{ID: RuleOrderLinks, Summary: "entrypoint links are the last entries, in the order BOOT, BOOTA, BOOTL"},
		{ID: RuleLinkAbsent, Summary: "every entrypoint of an image has its link in the payload"},
		{ID: RuleLinkCopy, Summary: "entrypoint links are symlinks, not copies"},
		{ID: RuleHardlink, Summary: "there are no hard links"},
		{ID: RuleDirRepeated, Summary: "no layer has a directory twice"},
		{ID: RuleMode, Summary: "files have mode 0444, directories 0755"},
		{ID: RuleOwner, Summary: "user and group are 0"},
		{ID: RuleTimes, Summary: "all entries have the same time"},
	}
	for i := range list {
		list[i].Advice = "build the image with nbpack to get the usual form"
	}
	list = append(list, indexRules()...)
	for i := range list {
		list[i].Severity = SeverityWarning
	}
	return list
}

// indexRules are about an index, and what its entries say.
func indexRules() []Rule {
	const again = "nbpack index add writes the entry anew, in its place"
	return []Rule{
		{ID: RuleIndexForm, Summary: "an index is one of OCI without an artifactType, and what its entries say is not null", Advice: "tools stumble over it, or drop it when they copy; make the index anew"},
		{ID: RuleIndexMark, Summary: "an index with netboot entries, and each of these, has the version annotation", Advice: again},
		{ID: RuleIndexPlatform, Summary: "every entry of an index has a platform", Advice: "some tools take an entry without one for linux/amd64, consumers of boot files never choose it"},
		{ID: RuleIndexDiskType, Summary: "every entry of an index says its use by disktype, netboot entries that they are", Advice: "Ironic takes an entry without one for a disk; " + again},
		{ID: RuleIndexOrder, Summary: "no entry stands before a container of its os and architecture that is none itself", Advice: "container runtimes take the first that fits their platform; " + again},
		{ID: RuleIndexNested, Summary: "the entries of an index are manifests and not indexes", Advice: "many tools do not look into it; nbpack index add --all takes out what is in it"},
		{ID: RuleIndexTwice, Summary: "no two entries of an index are for the same use on the same platform and os.version", Advice: "nbpack index remove --digest takes out one of them"},
	}
}
