# shellcheck shell=sh
# Runs the script $1, with the arguments behind it, as the image's unprivileged user: PostgreSQL
# refuses to run as root. Images bring different programs for that.
script=$1
shift
if [ "$(id -u)" != 0 ]; then
    exec sh -c "$script" drill "$@"
fi
user=postgres
id -u "$user" >/dev/null 2>&1 || user=nobody
uid=$(id -u "$user") && gid=$(id -g "$user") || exit 1
for program in gosu su-exec; do
    if command -v "$program" >/dev/null; then
        exec "$program" "$uid:$gid" sh -c "$script" drill "$@"
    fi
done
if setpriv --reuid="$uid" --regid="$gid" --clear-groups true 2>/dev/null; then
    exec setpriv --reuid="$uid" --regid="$gid" --clear-groups sh -c "$script" drill "$@"
fi
if command -v runuser >/dev/null; then
    exec runuser -u "$user" -- sh -c "$script" drill "$@"
fi
# shellcheck disable=SC2016 # the inner shell expands it
exec su -s /bin/sh "$user" -c 'exec sh -c "$0" drill "$@"' "$script" "$@"
