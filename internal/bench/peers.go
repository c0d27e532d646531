package main

import (
	"os/exec"
	"path/filepath"
	"slices"
)

// peer is a tool that packs trees, lays them out, or both, as lines of shell.
//
// Of the environment they use: BIN and SELF, the commands of this project and of
// bench; HOST, the registry; REPO, the repository of the peer; TAG; TREE; DEST, the
// directory where a tree is laid out; LAYOUT, one beside it; VERSION, the name of the
// tree; TMP, a directory that is empty before each run.
type peer struct {
	name  string
	needs []string
	pack  string
	pull  string
	again string // finds that nothing changed, if that is not done by pull
	from  string // peer whose repository is pulled, if that is not its own
	at    string // of the tree below DEST
}

const (
	raw     = `set --; cd $TREE; for f in *; do set -- "$@" -f $f --file-media-type application/octet-stream; done; `
	nbBuild = `exec $BIN/nbpack build -q --lint off --tls-verify=false --os-name d --os-version 1 --platform linux/amd64 `
)

// allPeers are listed as the tables show them; those that lack a program are left
// out of a run.
func allPeers() []peer {
	return []peer{
		{
			name:  "floor",
			pack:  `exec $SELF floor-pack $TREE $TMP/blob`,
			pull:  `exec $SELF floor-pull http://$HOST/v2/$REPO $TAG $DEST`,
			again: `exec $SELF floor-again http://$HOST/v2/$REPO $TAG`,
			from:  "raw",
		},
		{
			name: "floor, then the upload of its blob",
			pack: `exec $SELF floor-pack $TREE $TMP/blob http://$HOST/v2/$REPO`,
		},
		{
			name: "nbpack, nbextract",
			pack: nbBuild + `$TREE docker://$HOST/$REPO:$TAG`,
			pull: `exec $BIN/nbextract pull -q --tls-verify=false docker://$HOST/$REPO:$TAG -d $DEST`,
			at:   "d/1/amd64",
		},
		{
			name: "nbpack into an oci: layout",
			pack: nbBuild + `$TREE oci:$TMP/layout:$TAG`,
		},
		{
			name: "nbpack --compression gzip",
			pack: nbBuild + `--compression gzip $TREE docker://$HOST/$REPO:$TAG`,
		},
		{
			name: "raw",
			pack: nbBuild + `--format artifact $TREE docker://$HOST/$REPO:$TAG`,
		},
		{
			name:  "oras",
			needs: []string{"oras"},
			pack:  `cd $TREE; exec oras push --plain-http --artifact-type application/x-tree $HOST/$REPO:$TAG *`,
			pull:  `exec oras pull --plain-http -o $DEST $HOST/$REPO:$TAG`,
		},
		{
			name: "oras-go, as oras pulls",
			pull: `exec $SELF oras-pull $HOST/$REPO $TAG $DEST`,
			from: "raw",
		},
		{
			name:  "regctl artifact",
			needs: []string{"regctl"},
			pack:  raw + `exec regctl --host reg=$HOST,tls=disabled artifact put --file-title --artifact-type application/x-tree "$@" $HOST/$REPO:$TAG`,
			pull:  `exec regctl --host reg=$HOST,tls=disabled artifact get -o $DEST $HOST/$REPO:$TAG`,
		},
		{
			name:  "crane, tar",
			needs: []string{"crane", "tar"},
			pack:  `tar -C $TREE -cf $TMP/tree.tar . && crane append --insecure --oci-empty-base -f $TMP/tree.tar -t $HOST/$REPO:$TAG`,
			pull:  `mkdir -p $DEST; crane export --insecure $HOST/$REPO:$TAG - | tar -C $DEST -xf -`,
		},
		{
			name:  "imgpkg",
			needs: []string{"imgpkg"},
			pack:  `exec imgpkg push --registry-insecure -i $HOST/$REPO:$TAG -f $TREE`,
			pull:  `exec imgpkg pull --registry-insecure -i $HOST/$REPO:$TAG -o $DEST`,
		},
		{
			name:  "skopeo, umoci",
			needs: []string{"skopeo", "umoci"},
			pull: `skopeo copy -q --src-tls-verify=false docker://$HOST/$REPO:$TAG oci:$LAYOUT:t && rm -rf $DEST && ` +
				`umoci unpack --image $LAYOUT:t $DEST`,
			from: "nbpack --compression gzip",
			at:   "rootfs",
		},
		{
			name:  "rsync -a",
			needs: []string{"rsync"},
			pull:  `exec rsync -a --stats rsync://$RSYNC/trees/$VERSION/ $DEST/`,
		},
	}
}

// present are the peers that can be run here and do the job.
func (s *stand) present(does func(peer) bool) []peer {
	return slices.DeleteFunc(allPeers(), func(p peer) bool {
		if slices.Contains(s.opts.without, p.name) || !does(p) {
			return true
		}
		for _, program := range p.needs {
			if _, err := exec.LookPath(program); err != nil {
				s.env.Info("%s is not installed, %s is left out", program, p.name)
				return true
			}
		}
		return false
	})
}

// repo names the repository of a peer.
func repo(name string) string {
	for i, p := range allPeers() {
		if p.name == name {
			return "peer-" + string(rune('a'+i))
		}
	}
	return ""
}

// dest is where a peer lays trees out.
func (s *stand) dest(p peer) string { return filepath.Join(s.dir, "dest", repo(p.name)) }
