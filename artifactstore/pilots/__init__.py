"""Producers whose runs this distribution can read: plug-ins like anyone's."""
