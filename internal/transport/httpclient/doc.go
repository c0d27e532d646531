// Package httpclient sends single HTTP requests, to registries, their token servers,
// mirrors and whatever URLs images name. It decides what none of these may: whose
// certificates count for a host, where redirects may lead and with what, which
// addresses a mirror or an image can make this machine connect to ([Guard]), and how
// long silence is borne. And it counts.
//
// What is asked, with which credentials, and how often, is the caller's to know.
package httpclient
