#!/bin/sh
# Make the passwords of compose.yaml, once; what is there stays. Needs openssl, and docker for the user of the broker.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets # nobody else comes in; inside, the users of the containers must be able to read
umask 022
for name in postgres_password mqtt_password grafana_password; do
  [ -s "secrets/$name" ] || openssl rand -hex 24 > "secrets/$name"
done
[ -e secrets/read_token ] || : > secrets/read_token
if [ ! -s secrets/mosquitto_users ]; then
  echo "echobank:$(cat secrets/mqtt_password)" > secrets/mosquitto_users
  docker run --rm --volume "$PWD/secrets:/secrets" eclipse-mosquitto:2.0.20 mosquitto_passwd -U /secrets/mosquitto_users
fi
