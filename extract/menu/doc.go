// Package menu writes boot menus for grub, pxelinux and iPXE: one entry for each image
// of a boot directory, from a template. It knows names and texts only; extract says
// what is there, and internal/bootdir puts the menu in place.
package menu
