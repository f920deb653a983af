%% WRITTEN FROM EMQX'S SOURCE (emqx_channel.erl, release 5), NOT RUN.
%%
%% A plugin for EMQX 5: gives each account its own name as Response Information, and no account another one's client IDs.
%% Put it into a plugin made from EMQX's plugin template, and call load/0 and unload/0 where the template does.
-module(hearthd_fleet).

-export([load/0, unload/0, on_connack/3, on_authenticate/2]).

%% After the other hooks.
-define(LOWEST, -1000).

load() ->
    emqx_hooks:put('client.connack', {?MODULE, on_connack, []}, ?LOWEST),
    %% Before the authenticators.
    emqx_hooks:put('client.authenticate', {?MODULE, on_authenticate, []}, 1001).

unload() ->
    emqx_hooks:del('client.connack', {?MODULE, on_connack}),
    emqx_hooks:del('client.authenticate', {?MODULE, on_authenticate}).

%% EMQX puts Response Information into CONNACK only where the client asked for it (MQTT 3.2.2.3.15).
on_connack(#{username := Home}, success, #{'Response-Information' := _} = Properties) when
    is_binary(Home)
->
    {ok, Properties#{'Response-Information' => Home}};
on_connack(_ConnInfo, _Reason, Properties) ->
    {ok, Properties}.

%% EMQX knows a session by its client ID alone. Names of accounts have no `-`, and client IDs begin with `ACCOUNT-`.
on_authenticate(#{clientid := ClientId, username := Home}, _Result) when is_binary(Home) ->
    case binary:split(ClientId, <<"-">>) of
        [Home, _Rest] -> ok;
        _ -> {stop, {error, client_identifier_not_valid}}
    end;
on_authenticate(_ClientInfo, _Result) ->
    {stop, {error, not_authorized}}.
