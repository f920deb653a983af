// Writes what Zigbee2MQTT finds at its start: a network of a bulb (1001), a thermometer (1002), a radiator valve (1003) and
// a spot (1004), and a group of the bulb and the spot.
//
// Arguments: the folder, the base topic, the broker's port, and where the broker wants them an account and its password.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const [folder, base, port, user, password] = process.argv.slice(2);

function endpoint(devId, inClusterList, outClusterList) {
  return {
    profId: 260, epId: 1, devId, inClusterList, outClusterList,
    clusters: {}, binds: [], configuredReportings: [], meta: {},
  };
}

function device(id, type, address, modelId, manufName, manufId, powerSource, ...clusters) {
  return {
    id, type, ieeeAddr: `0x00124b000000000${id}`, nwkAddr: address, manufId, manufName, powerSource, modelId,
    epList: [1], endpoints: { 1: endpoint(258, ...clusters) },
    appVersion: 1, stackVersion: 1, hwVersion: 1, zclVersion: 3, dateCode: '2020', swBuildId: '1.0',
    interviewCompleted: true, interviewState: 'SUCCESSFUL', meta: { configured: 0 }, lastSeen: Date.now(),
  };
}

const lamp = (id, address) => device(id, 'Router', address, 'TRADFRI bulb E27 WS opal 980lm', 'IKEA of Sweden', 4476,
  'Mains (single phase)', [0, 3, 4, 5, 6, 8, 768], [5, 25, 32]);

const network = [
  {
    id: 1, type: 'Coordinator', ieeeAddr: '0x00124b0000000001', nwkAddr: 0, manufId: 0,
    epList: [1], endpoints: { 1: endpoint(5, [], []) },
    interviewCompleted: true, interviewState: 'SUCCESSFUL', meta: {},
  },
  lamp(2, 1001),
  device(3, 'EndDevice', 1002, 'SNZB-02', 'SONOFF', 4742, 'Battery', [0, 1, 3, 1026, 1029], [3]),
  device(4, 'EndDevice', 1003, 'TRVZB', 'SONOFF', 4742, 'Battery', [0, 1, 3, 6, 32, 513, 64529], [10, 25]),
  lamp(6, 1004),
  {
    id: 5, type: 'Group', groupID: 1, meta: {},
    members: [2, 6].map((id) => ({ deviceIeeeAddr: `0x00124b000000000${id}`, endpointID: 1 })),
  },
];

const configuration = {
  version: 5,
  mqtt: { base_topic: base, server: `mqtt://127.0.0.1:${port}`, ...(user && { user, password }) },
  serial: { port: '/dev/null', adapter: 'ember' },
  frontend: { enabled: false },
  availability: { enabled: true },
  homeassistant: { enabled: false },
  advanced: {
    log_output: ['console'], log_level: 'info', channel: 11, pan_id: 6754,
    network_key: [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13],
    ext_pan_id: [221, 221, 221, 221, 221, 221, 221, 221], last_seen: 'ISO_8601_local',
  },
  devices: {
    '0x00124b0000000002': { friendly_name: 'hall/bulb' },
    '0x00124b0000000003': { friendly_name: 'thermometer' },
    '0x00124b0000000004': { friendly_name: 'valve' },
    '0x00124b0000000006': { friendly_name: 'hall/spot' },
  },
  groups: { 1: { friendly_name: 'all' } },
};

fs.writeFileSync(path.join(folder, 'database.db'), network.map((one) => `${JSON.stringify(one)}\n`).join(''));
// What is JSON is YAML as well.
fs.writeFileSync(path.join(folder, 'configuration.yaml'), JSON.stringify(configuration, null, 2));
