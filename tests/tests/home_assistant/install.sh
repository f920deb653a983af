#!/bin/sh
# Installs Home Assistant into a Debian root: its newest version, and what the integrations under test would fetch when
# they run. usage: install.sh ROOT
set -eu
root=$1
here=$(dirname "$0")
cp /etc/resolv.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$here/requirements.py" "$root/opt/"
python() { chroot "$root" env -u PIP_FIND_LINKS PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/ha/bin/python "$@"; }
chroot "$root" python3 -m venv /opt/ha
python -m pip install --quiet homeassistant
python /opt/requirements.py mqtt hassio config api isal system_log history >"$root/opt/requirements.txt"
python -m pip install --quiet -r /opt/requirements.txt
python -c 'import homeassistant.const as c; print("Home Assistant", c.__version__)'
touch "$root/opt/installed"
