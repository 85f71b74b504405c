"""The machines that the orders in `habits` are about, as their nodes know them."""

from __future__ import annotations

from typing import Any

from edge_node.messages import DeviceState, Message, Observation

_LAMP = {"power": "ON", "brightness": 120, "availability": "online"}
_COVER = {"position": 100, "availability": "online"}
_RADIATOR = {"room_c": 19.5, "wanted_c": 20, "availability": "online"}
_DOOR = {"power": "LOCK", "lock": "locked", "availability": "online"}
_PUMP = {"speed": 60, "bearing_c": 50.0, "vibration": 1.0, "valve": "open"}
_ROVER: dict[str, Any] = {
    "x": 10.0,
    "y": 6.0,
    "heading": 0.0,
    "speed": 0.0,
    "max_speed": 0.8,
    "battery": 80,
    "mode": "idle",
}
_ROVER |= {"location": ""}
_AGV: dict[str, Any] = {
    "order": "",
    "last_node": "goods_in",
    "driving": False,
    "is_paused": False,
    "battery": 80,
}
_AGV |= {"charging": False}
WORLDS: dict[str, dict[str, dict[str, Any]]] = {
    "pump-guard": {f"pump-{number}": _PUMP for number in (1, 2, 3)},
    "rover": {f"rover-{number}": _ROVER for number in (1, 2)},
    "agv": {f"agv-{number}": _AGV for number in (7, 8)},
    "home": {
        "hall_lamp": _LAMP,
        "kitchen_lamp": _LAMP,
        "bedroom_lamp": _LAMP,
        "cellar_lamp": _LAMP,
        "living_room_blind": _COVER,
        "bedroom_shutter": _COVER,
        "bathroom_radiator": _RADIATOR,
        "office_radiator": _RADIATOR,
        "front_door": _DOOR,
        "back_door": _DOOR,
        "kitchen_window": {"contact": True, "battery": 90, "availability": "online"},
        "sink_sensor": {"water_leak": False, "battery": 60, "availability": "online"},
    },
}


class HabitsTwin:
    """A twin that knows the machines of one node."""

    def __init__(self, node: str) -> None:
        self._world = WORLDS[node]

    def keep(self, device: str) -> None:
        """Leave only one of the machines."""
        self._world = {device: self._world[device]}

    def observe(self, message: Message) -> tuple[Observation, ...]:
        del message
        return ()

    def state(self, node: str, device: str) -> DeviceState | None:
        if device not in self._world:
            return None
        return DeviceState(node, device, self._world[device], seen_at=1.0, online=True)

    def devices(self, node: str) -> tuple[str, ...]:
        del node
        return tuple(sorted(self._world))

    def times(self, node: str, device: str) -> dict[str, float]:
        del node
        return dict.fromkeys(self._world.get(device, {}), 1.0)
