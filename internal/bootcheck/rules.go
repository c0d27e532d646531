package bootcheck

import "github.com/nbpack/nbpack/spec"

// SeverityInfo marks a finding that is neither right nor wrong: what a set holds,
// or what could not be looked at.
const SeverityInfo spec.Severity = "info"

// Ids of the findings. docs/lint.md explains each; a test compares the two lists.
const (
	RuleKernelInitrd  = "kernel-initrd"
	RuleInitrdDamaged = "initrd-damaged"
	RuleKernelMachine = "kernel-machine"
	RuleEntryMachine  = "entry-machine"
	RuleShimLoader    = "shim-loader"

	RuleKernelUnpaired = "kernel-unpaired"
	RuleShimAlone      = "shim-alone"
	RuleEFIFormat      = "efi-format"
	RuleEFIMachine     = "efi-machine"
	RuleEFIUnsigned    = "efi-unsigned"
	RuleSBATMissing    = "sbat-missing"
	RuleSBATRevoked    = "sbat-revoked"
	RuleBootfileLength = "bootfile-length"
	RuleTFTPMode       = "tftp-mode"

	RuleKernelVersion = "kernel-version"
	RuleKernelUnread  = "kernel-unread"
	RuleInitrdUnread  = "initrd-unread"
	RuleSBATLevel     = "sbat-level"
	RuleSiteConfig    = "site-config"
)

// Rules gives every rule about booting: errors, then warnings, then what is only
// mentioned.
func Rules() []spec.Rule {
	return append(append(errorRules(), warningRules()...), infoRules()...)
}

func errorRules() []spec.Rule {
	return withSeverity(spec.SeverityError, []spec.Rule{
		{ID: RuleKernelInitrd, Summary: "an initrd with modules lies with a kernel of that version", Advice: "take kernel and initrd from the same build of the installer"},
		{ID: RuleInitrdDamaged, Summary: "an initrd can be unpacked to its end", Advice: "fetch the file again: it is cut off or damaged"},
		{ID: RuleKernelMachine, Summary: "a set with kernels has one for its platform", Advice: "correct --platform, or pack the kernel of that architecture"},
		{ID: RuleEntryMachine, Summary: "the entrypoints are programs for the platform", Advice: "correct --platform, or name another file as entrypoint"},
		{ID: RuleShimLoader, Summary: "beside the shim that is the entrypoint lies the second stage that it names, a whole program", Advice: "add the loader to the directory of shim, under the name that shim asks for"},
	})
}

func warningRules() []spec.Rule {
	return withSeverity(spec.SeverityWarning, []spec.Rule{
		{ID: RuleKernelUnpaired, Summary: "where initrds have modules, every kernel finds its own in one of them", Advice: "leave the kernel out, or add the initrd that belongs to it"},
		{ID: RuleShimAlone, Summary: "beside every other shim lies its second stage, too; and beside one that does not show which, the usual one", Advice: "leave this shim out, or add its loader beside it"},
		{ID: RuleEFIFormat, Summary: "a file named .efi is a whole EFI program", Advice: "fetch the file again: it may be cut off, or the error page of a server"},
		{ID: RuleEFIMachine, Summary: "EFI programs are for the platform, or their name says for which machine they are", Advice: "leave the file out, or give it the name that its architecture has in UEFI"},
		{ID: RuleEFIUnsigned, Summary: "EFI programs have an Authenticode signature, kernels too where there is a shim", Advice: "take the signed file of the distribution; machines with Secure Boot refuse this one"},
		{ID: RuleSBATMissing, Summary: "what a shim starts has a .sbat section", Advice: "take a loader that was built for shim 15.3 or later; machines with Secure Boot refuse this one"},
		{ID: RuleSBATRevoked, Summary: "no SBAT generation is below the one that Secure Boot asks for by now", Advice: "take shim and loader from the latest update of the distribution; machines with Secure Boot refuse this one"},
		{ID: RuleBootfileLength, Summary: "names of boot files have at most 127 bytes in the default layout", Advice: "choose shorter names: DHCP cannot name this file"},
		{ID: RuleTFTPMode, Summary: "everybody may read the files, and enter the directories", Advice: "chmod a+rX: TFTP servers refuse what not everybody may read"},
	})
}

func infoRules() []spec.Rule {
	return withSeverity(SeverityInfo, []spec.Rule{
		{ID: RuleKernelVersion, Summary: "the version of a kernel, and which initrds have its modules"},
		{ID: RuleKernelUnread, Summary: "a kernel does not tell its version, so it was not compared with the initrd"},
		{ID: RuleInitrdUnread, Summary: "an initrd is in no form that can be read here, so it was not compared with the kernel"},
		{ID: RuleSBATLevel, Summary: "the SBAT generations of an EFI program"},
		{ID: RuleSiteConfig, Summary: "a configuration of the boot loader is part of the set", Advice: "a site's own configuration belongs onto its boot server, not into the image"},
	})
}

func withSeverity(s spec.Severity, list []spec.Rule) []spec.Rule {
	for i := range list {
		list[i].Severity = s
	}
	return list
}
