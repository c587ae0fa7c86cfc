#!/usr/bin/env bash
# Finds the backup-action program and becomes it. The action runs nothing else: whatever can be
# decided in the program is decided there, where it is tested. Bash 3.2 (macOS) has to read this.
# Exit code 3, as the program's own "could not check": the gate stays closed.
set -euo pipefail && shopt -s execfail # exec: a cancelled workflow signals this process; the program has to hear it

main() {
  # Outputs are read by the deploy job even after a failure here. The program writes its own again.
  [[ -z ${GITHUB_OUTPUT:-} ]] || echo "passed=false" >>"$GITHUB_OUTPUT" ||
    fail "could not write the step outputs" "Check free space and permissions on the runner."
  local command="${BACKUP_ACTION_COMMAND:-gate}" wanted="${BACKUP_ACTION_BIN_PATH:-}" repository="${BACKUP_ACTION_ACTION_REPOSITORY:-}"
  local attest="${BACKUP_ACTION_VERIFY_ATTESTATION:-auto}" base="${BACKUP_ACTION_DOWNLOAD_BASE:-}"
  local seconds="${BACKUP_ACTION_DOWNLOAD_TIMEOUT:-300}"
  # These are the bootstrap's own; the program knows no such settings.
  unset BACKUP_ACTION_{COMMAND,BIN_PATH,VERIFY_ATTESTATION,DOWNLOAD_BASE,DOWNLOAD_TIMEOUT,ACTION_REPOSITORY,ACTION_REF}
  [[ ! ${RUNNER_OS:-$(uname -s)} =~ ^(Windows|MINGW|MSYS|CYGWIN) ]] ||
    fail "Windows runners are not supported" "Run the gate job on Linux or macOS; the server may be anywhere."
  usable command "$command" '^[a-z][a-z-]*$' "It is not the name of a command: use gate, or another that --help lists."
  usable verify-attestation "$attest" '^(auto|true|false)$' "Use auto, true or false."
  usable download-base "$base" '^(https?://[^[:space:][:cntrl:]@]+)?$' "Give the https:// address of a directory, without a password."
  usable download-timeout "$seconds" '^[1-9][0-9]{0,4}$' "Give a number of seconds."
  if [[ -n $wanted ]]; then
    program=$wanted
    [[ $program == */* && -f $program && -x $program ]] || # exec would look a bare name up in PATH
      fail "input bin-path does not name a program that can be run" "Give the full path of one with its execute bit set."
  elif [[ -z $repository ]]; then
    build_checkout
    program="$GITHUB_ACTION_PATH/target/release/backup-action"
  else
    find_release
  fi
  set +e; exec "$program" "$command" || fail "the program cannot be run" "Is it one for this machine?"
}

# From a checkout (uses: ./) the program is built. Build scripts of dependencies see no secrets.
build_checkout() {
  command -v cargo >/dev/null || fail "cargo is needed to build backup-action from a checkout" "Install Rust with rustup, or give bin-path."
  echo "::group::Build backup-action from the checkout"
  (
    for name in $(compgen -e); do
      case "$name" in BACKUP_ACTION_* | PG* | AWS_* | DATABASE_URL | *TOKEN* | *SECRET* | *PASSWORD* | ACTIONS_*) unset "$name" ;; esac
    done
    cd "$GITHUB_ACTION_PATH" && # rustup reads rust-toolchain.toml from it
      cargo build --release --locked --package backup-action --manifest-path Cargo.toml --target-dir target
  ) || fail "could not build backup-action from the checkout" "The compiler's messages are above."
  echo "::endgroup::"
}

# The program that support/release.json names, from the tool cache or the network. Its SHA-256 is a
# part of the action's own commit, and is compared at every use, before the execute bit is set.
find_release() {
  local target dir line sha256="" url=""
  target="$(uname -s)-$(uname -m)"
  case "$target" in
  Linux-x86_64 | Linux-aarch64) target="${target#*-}-unknown-linux-musl" ;;
  Darwin-x86_64) target=x86_64-apple-darwin ;;
  Darwin-arm64) target=aarch64-apple-darwin ;;
  *) fail "there is no program for $target" "Use Linux or macOS on x86-64 or arm64, or build one and give bin-path." ;;
  esac
  # One asset a line, as `cargo xtask release --write` writes it: not every runner has jq.
  local asset='^ *\{ "target": "([a-z0-9_-]+)", "sha256": "([0-9a-f]{64})", "url": "(https?://[^"[:space:]]+)" \},?$'
  while IFS= read -r line; do
    if [[ $line =~ ^\ *\"repository\":\ \"([A-Za-z0-9._/-]+)\",$ ]]; then repository=${BASH_REMATCH[1]}; fi
    if [[ $line =~ $asset && ${BASH_REMATCH[1]} == "$target" ]]; then sha256=${BASH_REMATCH[2]} url=${BASH_REMATCH[3]}; fi
  done < <(cat "$GITHUB_ACTION_PATH/support/release.json")
  [[ -n $sha256 ]] || fail "there is no released program for $target yet" "Use the commit of a release, or check the repository out and use uses: ./, or give bin-path."
  dir="${RUNNER_TOOL_CACHE:-/dev/null}/backup-action/$sha256"
  if [[ ! -f $dir/backup-action || ! -x $dir/backup-action || $(digest "$dir/backup-action") != "$sha256" ]]; then
    [[ ! -e $dir/backup-action ]] || echo "::warning title=backup-action::The program in the tool cache was not the released one; it is downloaded again."
    [[ -z $base ]] || url="${base%/}/${url##*/}"
    download
  elif [[ $attest == true ]]; then
    attestation "$dir/backup-action"
  fi
  program="$dir/backup-action"
}

# Into a file of its own, moved when it is proved: two jobs may share a tool cache. curl and wget read
# the proxy's variables themselves. Other bytes than the released ones are the end, without a second way.
download() {
  draft=$(mkdir -p "$dir" 2>/dev/null && mktemp "$dir/.draft.XXXXXX" 2>/dev/null) || {
    dir=$(mktemp -d "${RUNNER_TEMP:-/tmp}/backup-action.XXXXXX") && draft=$(mktemp "$dir/.draft.XXXXXX")
  } || fail "could not make a directory for the program" "Check free space and permissions on the runner."
  trap 'rm -f "$draft"' EXIT
  if command -v curl >/dev/null; then
    curl -fsSL --proto '=http,https' --proto-redir '=http,https' --connect-timeout 15 --max-time "$seconds" \
      --retry 3 --retry-max-time "$seconds" --output "$draft" "$url" 2>&1
  else
    timeout "$seconds" wget -q -T 30 -O "$draft" "$url" 2>&1
  fi || fail "could not download $url" "See above; check the runner's proxy and firewall, or give download-base or bin-path."
  [[ $(digest "$draft") == "$sha256" ]] || fail "the SHA-256 of $url is not the released program's" \
    "Nothing was run. Look for a proxy that changes downloads; if there is none, tell the maintainers."
  [[ $attest == false ]] || attestation "$draft"
  { [[ ! -d $dir/backup-action ]] || rm -rf "$dir/backup-action"; chmod 755 "$draft" && mv -f "$draft" "$dir/backup-action"; } || fail "could not put the program into $dir" "Check free space."
}

# attestation FILE: did the release workflow build it? `auto` asks about downloads, where gh can.
attestation() {
  if [[ $attest == auto && ${GITHUB_SERVER_URL:-https://github.com} != https://github.com ]] || ! gh attestation verify --help >/dev/null 2>&1; then
    [[ $attest == auto ]] || fail "input verify-attestation is true, and gh cannot do it" "Install a newer gh, or use auto."
    echo "The program's SHA-256 is right. Its attestation was not asked for: no gh of github.com on this runner."
  else
    GH_TOKEN="${GH_TOKEN:-${BACKUP_ACTION_GITHUB_TOKEN:-}}" gh attestation verify "$1" --hostname github.com --repo "$repository" \
      --signer-workflow "$repository/.github/workflows/release.yml" 2>&1 || fail "the attestation of the program could not be verified" "Nothing was run. See above, and the rights of github-token."
  fi
}

digest() { if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -c1-64; }
usable() { [[ $2 =~ $3 ]] || fail "input $1 cannot be used" "$4"; }

# fail MESSAGE HINT: no text of somebody else is in them, so nothing needs escaping.
fail() {
  echo "::error title=backup-action::$1. $2"
  [[ -z ${GITHUB_STEP_SUMMARY:-} ]] ||
    printf '## ❌ Backup gate could not check — deploy blocked\n\n%s. %s\n' "$1" "$2" >>"$GITHUB_STEP_SUMMARY" || true
  exit 3
}

main "$@"
