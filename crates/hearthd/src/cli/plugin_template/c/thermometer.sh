# Plays the thermometer while a command runs, and ends as that does: `sh thermometer.sh COMMAND...`.
# The file is a link to a pipe. Once the device has opened the pipe, the link leads to that of the next reading.
rm -rf build
mkdir build
mkfifo build/first build/second build/third
ln -s first build/temperature
echo "file = '$PWD/build/temperature'" >build/test.toml
{
  { ln -sfn second build/temperature; echo 21500; } >build/first
  { ln -sfn third build/temperature; echo nonsense; } >build/second
  { rm build/temperature; echo 22750; } >build/third
} &
trap 'kill $! 2>/dev/null' EXIT # where the command has failed, that still waits
trap 'exit 1' INT TERM
"$@"
