package layout

// Preset is a layout by name.
type Preset struct {
	Name     string
	Template string // of the live path; empty where the tree has no directory of its own
	About    string // one line for lists
	lower    bool
	arrange  func(*arranger) error
}

// Names lists their names.
func Names() []string {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// Presets lists the layouts that have names, the default first.
func Presets() []Preset {
	return []Preset{
		{Name: "default", Template: "{os.name}/{os.version}/{os.arch}",
			About: "a directory for each image, by its labels"},
		{Name: "flat",
			About: "the files directly in the boot directory"},
		{Name: "nboci", Template: "{os.name}/{os.version}/{arch.rpm}", arrange: nboci,
			About: "as nboci lays out: links boot, boot-alt, boot-legacy"},
		{Name: "foreman", Template: "bootloader-universe/pxegrub2/{os.name}/{os.version}/{arch.rpm}", lower: true, arrange: foreman,
			About: "Foreman's bootloader universe, in its TFTP root"},
		{Name: "cobbler", Template: "netboot/{os.name}-{os.version}-{arch.rpm}", arrange: cobbler,
			About: "Cobbler's loaders, in /var/lib/cobbler/loaders"},
		{Name: "matchbox", Template: "{os.name}/{os.version}",
			About: "assets of Matchbox, in /var/lib/matchbox/assets"},
		{Name: "tinkerbell", Template: "{os.name}/{os.version}/{arch.rpm}", arrange: tinkerbell,
			About: "what Tinkerbell's smee asks for: vmlinuz-ARCH, initramfs-ARCH"},
		{Name: "debian", Template: "debian-installer/{arch.deb}", arrange: installer,
			About: "as netboot.tar.gz of Debian unpacks in a TFTP root"},
		{Name: "ubuntu", Template: "{arch.deb}", arrange: installer,
			About: "as the netboot archives of Ubuntu unpack in a TFTP root"},
	}
}
