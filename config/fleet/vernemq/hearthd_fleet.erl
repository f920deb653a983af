%% WRITTEN FROM VERNEMQ'S DOCUMENTATION AND ITS DEMO PLUGIN FOR MQTT 5, NOT RUN.
%%
%% A plugin for VerneMQ 1.12 or later: gives each account its own name as Response Information, and a space of client IDs
%% of its own. Passwords are those of vmq_passwd, and rights those of vmq_acl. Leave both enabled, and enable this plugin
%% before them: the first plugin that decides about a login is the last one that is asked.
-module(hearthd_fleet).

-include_lib("vernemq_dev/include/vernemq_dev.hrl").

-behaviour(auth_on_register_m5_hook).

-export([auth_on_register_m5/6]).

auth_on_register_m5(Peer, {Mountpoint, ClientId} = SubscriberId, Home, Password, CleanStart, Properties) when
    is_binary(Home)
->
    case vmq_passwd:auth_on_register_m5(Peer, SubscriberId, Home, Password, CleanStart, Properties) of
        ok ->
            {ok, #{
                subscriber_id => {Mountpoint, <<Home/binary, ".", ClientId/binary>>},
                properties => response_information(Home, Properties)
            }};
        _Refused ->
            {error, #{reason_code => ?BAD_USERNAME_OR_PASSWORD}}
    end;
auth_on_register_m5(_Peer, _SubscriberId, _Home, _Password, _CleanStart, _Properties) ->
    {error, #{reason_code => ?BAD_USERNAME_OR_PASSWORD}}.

%% Only where the client asked for it (MQTT 3.2.2.3.15).
response_information(Home, #{?P_REQUEST_RESPONSE_INFO := true}) -> #{?P_RESPONSE_INFO => Home};
response_information(_Home, _Properties) -> #{}.
