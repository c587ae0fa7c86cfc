#!/usr/bin/env bash
# Finds the backup-action program and becomes it. The action runs nothing else: whatever can be
# decided in the program is decided there, where it is tested.
#
# Exit code 3, as the program's own "could not check": the gate stays closed.
set -euo pipefail

main() {
  close_the_gate
  refuse_windows

  local command="${BACKUP_ACTION_COMMAND:-gate}"
  local wanted="${BACKUP_ACTION_BIN_PATH:-}"
  local repository="${BACKUP_ACTION_ACTION_REPOSITORY:-}"
  # These are the bootstrap's own; the program knows no such settings.
  unset BACKUP_ACTION_COMMAND BACKUP_ACTION_BIN_PATH
  unset BACKUP_ACTION_ACTION_REPOSITORY BACKUP_ACTION_ACTION_REF

  if [[ ! $command =~ ^[a-z][a-z-]*$ ]]; then
    fail "input command is not the name of a command" "Use gate, or another command that --help lists."
  fi

  local program
  if [[ -n $wanted ]]; then
    program=$wanted
    if [[ ! -f $program || ! -x $program ]]; then
      fail "input bin-path does not name a program that can be run" \
        "Give the full path of a backup-action program with its execute bit set."
    fi
  elif [[ -z $repository ]]; then
    build_checkout
    program="$GITHUB_ACTION_PATH/target/release/backup-action"
  else
    fail "there is no released program to download yet" \
      "Check the repository out and use uses: ./ or give bin-path; released programs come with the first release."
  fi

  # exec: a cancelled workflow signals this process, and the program has to hear it.
  exec "$program" "$command"
}

# Outputs are read by the deploy job even after a failure here. The program writes its own again.
close_the_gate() {
  if [[ -n ${GITHUB_OUTPUT:-} ]]; then
    echo "passed=false" >>"$GITHUB_OUTPUT" ||
      fail "could not write the step outputs" "Check free space and permissions on the runner."
  fi
}

refuse_windows() {
  case "${RUNNER_OS:-$(uname -s)}" in
  Windows | MINGW* | MSYS* | CYGWIN*)
    fail "Windows runners are not supported" "Run the gate job on Linux or macOS; the server may be anywhere."
    ;;
  esac
}

# From a checkout (uses: ./) the program is built. Build scripts of dependencies see no secrets.
build_checkout() {
  if ! command -v cargo >/dev/null; then
    fail "cargo is needed to build backup-action from a checkout" "Install Rust with rustup, or give bin-path."
  fi
  echo "::group::Build backup-action from the checkout"
  (
    while IFS= read -r name; do
      case "$name" in
      BACKUP_ACTION_* | PG* | AWS_* | DATABASE_URL | *TOKEN* | *SECRET* | *PASSWORD* | ACTIONS_*)
        unset "$name"
        ;;
      esac
    done < <(compgen -e)
    # The directory matters: rustup reads rust-toolchain.toml from it.
    cd "$GITHUB_ACTION_PATH" &&
      cargo build --release --locked --package backup-action \
        --manifest-path Cargo.toml --target-dir target
  ) || fail "could not build backup-action from the checkout" "The compiler's messages are above."
  echo "::endgroup::"
}

# fail MESSAGE HINT: our own texts only, so nothing in them needs escaping.
fail() {
  echo "::error title=backup-action::$1. $2"
  if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then
    printf '## ❌ Backup gate could not check — deploy blocked\n\n%s. %s\n' "$1" "$2" >>"$GITHUB_STEP_SUMMARY" || true
  fi
  exit 3
}

main "$@"
