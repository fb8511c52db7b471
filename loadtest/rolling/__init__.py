"""Thousands of clients through Nginx while every process is replaced one after the other, and what they notice."""
