# shellcheck shell=sh
# Makes a cluster in the container and becomes its server.
# $1 major version  $2 superuser  $3 settings, words NAME=VALUE  $4 an option of initdb that the
# image may not know, or nothing  the rest: options of initdb
set -eu
major=$1 superuser=$2 settings=$3 perhaps=$4
shift 4

bin='' other=''
for initdb in "$(command -v initdb || :)" /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
    /usr/libexec/postgresql*/initdb /usr/local/bin/initdb; do
    dir=${initdb%/*}
    if [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ]; then continue; fi
    version=$("$dir/postgres" --version) || continue
    version=${version#*"(PostgreSQL) "}
    case $version in
        "$major" | "$major"[!0-9]*) bin=$dir ;;
        *) other=${version%% *} ;;
    esac
done
if [ -z "$bin" ]; then
    echo "drill: server of another version: ${other:-none}" >&2
    exit 1
fi

# The image's volume when it has one: files of a volume do not pass through layers.
for base in /var/lib/postgresql/data /var/lib/postgresql /tmp; do
    if mkdir "$base/backup-action-drill" 2>/dev/null; then break; fi
done
data=$base/backup-action-drill
export LC_ALL=C
"$bin/initdb" -D "$data" -U "$superuser" --auth-host=trust "$@" ${perhaps:+"$perhaps"} >/dev/null ||
    "$bin/initdb" -D "$data" -U "$superuser" --auth-host=trust "$@" >/dev/null
printf '%s\n' "$bin" "$(id -u)" >/tmp/backup-action-drill.facts
set --
for setting in $settings; do
    set -- "$@" -c "$setting"
done
exec "$bin/postgres" -D "$data" -k /tmp -p 5432 -c listen_addresses=127.0.0.1 "$@"
